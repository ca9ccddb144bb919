import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { Poller } from './poller';

const page = Object.assign(new EventTarget(), { hidden: false });

beforeEach(() => {
	page.hidden = false;
	vi.stubGlobal('document', page);
	vi.useFakeTimers();
});
afterEach(() => {
	vi.useRealTimers();
	vi.unstubAllGlobals();
});

it('asks so long after each answer, and tells why there is none', async () => {
	let asked = 0;
	const told: unknown[] = [];
	const poller = new Poller(
		() => (++asked === 2 ? Promise.reject(new Error('busy')) : Promise.resolve(asked)),
		1000,
		(answer, error) => told.push(answer ?? error)
	);
	poller.start();
	await vi.advanceTimersByTimeAsync(2500);
	expect(told).toEqual([1, 'busy', 3]);
	poller.stop();
	await vi.advanceTimersByTimeAsync(5000);
	expect(asked).toBe(3);
});

it('asks nothing while nobody looks, and at once when somebody does', async () => {
	let asked = 0;
	const poller = new Poller(
		() => Promise.resolve(++asked),
		1000,
		() => undefined
	);
	poller.start();
	page.hidden = true;
	await vi.advanceTimersByTimeAsync(9000);
	expect(asked).toBe(1);
	page.hidden = false;
	page.dispatchEvent(new Event('visibilitychange'));
	expect(asked).toBe(2);
	poller.stop();
});

it('tells nothing after its end, whatever comes', async () => {
	let answer: (value: number) => void = () => undefined;
	const told: unknown[] = [];
	const poller = new Poller(
		() => new Promise<number>((resolve) => (answer = resolve)),
		1000,
		(value) => told.push(value)
	);
	poller.start();
	poller.stop();
	answer(1);
	await vi.advanceTimersByTimeAsync(3000);
	expect(told).toEqual([]);
});
