import { expect, it } from 'vitest';
import { hasWords } from './words';

it.each([
	['', [], true],
	['  ', ['Nightly'], true],
	['nightly', ['Nightly'], true],
	['NIGHT', ['nightly'], true],
	['oslo  night', ['nightly', 'oslo'], true],
	['oslo night', ['nightly', undefined], false],
	// A word is in one of them, not across two.
	['ab', ['a', 'b'], false]
] as const)('%j in %j: %j', (filter, texts, has) => {
	expect(hasWords(filter, texts)).toBe(has);
});
