import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Throttle } from './throttle';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it('runs at once, then once an interval while it is asked', () => {
	const run = vi.fn();
	const throttle = new Throttle(1000, run);
	throttle.ask();
	expect(run).toHaveBeenCalledTimes(1);
	for (let i = 0; i < 10; i++) throttle.ask();
	vi.advanceTimersByTime(999);
	expect(run).toHaveBeenCalledTimes(1);
	vi.advanceTimersByTime(1);
	expect(run).toHaveBeenCalledTimes(2);
	throttle.ask();
	vi.advanceTimersByTime(1000);
	expect(run).toHaveBeenCalledTimes(3);
	vi.advanceTimersByTime(10_000);
	expect(run).toHaveBeenCalledTimes(3);
	throttle.ask();
	expect(run).toHaveBeenCalledTimes(4);
});

it('forgets what was asked when it is stopped', () => {
	const run = vi.fn();
	const throttle = new Throttle(1000, run);
	throttle.ask();
	throttle.ask();
	throttle.stop();
	vi.advanceTimersByTime(10_000);
	expect(run).toHaveBeenCalledTimes(1);
	expect(vi.getTimerCount()).toBe(0);
});
