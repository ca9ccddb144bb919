import { expect, it } from 'vitest';
import { visibleRange, WHOLE_UP_TO } from './window';

it('draws short lists whole', () => {
	expect(visibleRange(WHOLE_UP_TO, 50, 99_999, 800)).toEqual({ from: 0, to: WHOLE_UP_TO });
});

it('draws what is in sight and a little around it, within the list', () => {
	expect(visibleRange(1000, 50, -300, 800)).toEqual({ from: 0, to: 22 });
	expect(visibleRange(1000, 50, 10_000, 800)).toEqual({ from: 188, to: 228 });
	expect(visibleRange(1000, 50, 49_200, 800)).toEqual({ from: 972, to: 1000 });
	// Scrolled past the end: a list that has just become shorter.
	expect(visibleRange(100, 50, 90_000, 800)).toEqual({ from: 100, to: 100 });
	expect(visibleRange(100, 50, -90_000, 800)).toEqual({ from: 0, to: 0 });
});
