import { expect, it } from 'vitest';
import { blockWindow } from './blocks';

const heights = [100, 300, 50, 50, 500];

it('draws what is in sight and around it', () => {
	expect(blockWindow(heights, 0, 90, 0)).toEqual({ from: 0, to: 1, before: 0, after: 900 });
	expect(blockWindow(heights, 0, 90, 20)).toEqual({ from: 0, to: 2, before: 0, after: 600 });
	expect(blockWindow(heights, 420, 40, 0)).toEqual({ from: 2, to: 4, before: 400, after: 500 });
	expect(blockWindow(heights, 420, 40, 30)).toEqual({ from: 1, to: 4, before: 100, after: 500 });
});

it('draws a block at each end, however far it was scrolled', () => {
	expect(blockWindow(heights, 99_999, 100, 0)).toEqual({ from: 4, to: 5, before: 500, after: 0 });
	expect(blockWindow(heights, -500, 100, 0)).toEqual({ from: 0, to: 1, before: 0, after: 900 });
	expect(blockWindow([], 0, 100, 0)).toEqual({ from: 0, to: 0, before: 0, after: 0 });
});
