import { expect, it } from 'vitest';
import { doToAll } from './bulk';

const numbers = Array.from({ length: 50 }, (_, index) => index);

it('does it to each once, a few at a time, and counts what was refused', async () => {
	const done: number[] = [];
	let running = 0;
	let most = 0;
	const seen: number[] = [];
	const result = await doToAll(
		numbers,
		async (one) => {
			most = Math.max(most, ++running);
			await Promise.resolve();
			running--;
			if (one % 10 === 3) throw new Error(`no to ${one}`);
			done.push(one);
		},
		new AbortController().signal,
		(progress) => seen.push(progress.done)
	);
	expect(result).toEqual({ done: 50, failed: 5, firstError: 'no to 3' });
	expect(done).toHaveLength(45);
	expect(most).toBe(4);
	expect(seen).toEqual(numbers.map((one) => one + 1));
});

it('begins nothing more after it was stopped', async () => {
	const stopping = new AbortController();
	const begun: number[] = [];
	const result = await doToAll(
		numbers,
		(one) => {
			begun.push(one);
			if (one === 9) stopping.abort();
			return Promise.resolve();
		},
		stopping.signal,
		() => undefined
	);
	expect(begun.length).toBeLessThan(15);
	expect(result.done).toBe(begun.length);
	expect(
		await doToAll(
			[],
			() => Promise.resolve(),
			stopping.signal,
			() => undefined
		)
	).toEqual({
		done: 0,
		failed: 0,
		firstError: undefined
	});
});
