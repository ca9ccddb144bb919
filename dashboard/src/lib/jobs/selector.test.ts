import { expect, it } from 'vitest';
import { matchesSelector, parseSelector, type Selector } from './selector';

const labels = { team: 'ops', room: 'a=b', ssd: '' };

it.each([
	['', true],
	['  ', true],
	['team=ops', true],
	[' team = ops , ssd ', true],
	['team=search', false],
	['team!=ops', false],
	['team!=search', true],
	['gpu!=none', true],
	['gpu', false],
	['gpu=', false],
	['ssd=', true],
	['room=a=b', true],
	['room!=a=b', false],
	['toString', false]
])('%j', (text, matches) => {
	expect(matchesSelector(parseSelector(text) as Selector, labels)).toBe(matches);
});

it('takes labels away from what has none', () => {
	expect(matchesSelector(parseSelector('a') as Selector, undefined)).toBe(false);
	expect(matchesSelector(parseSelector('a!=b') as Selector, undefined)).toBe(true);
});

it.each([
	'=a',
	'!=a',
	'a,',
	',',
	'a=b,,c',
	Array.from({ length: 33 }, (_, i) => `k${i}`).join(',')
])('refuses %j', (text) => expect(parseSelector(text)).toHaveProperty('error'));
