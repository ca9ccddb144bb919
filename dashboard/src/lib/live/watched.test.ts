import type { OrchionEvent } from '@orchion/api';
import { expect, it, vi } from 'vitest';
import type { Live } from './live.svelte';
import { WatchedList } from './watched.svelte';

interface Named {
	name?: string;
	weight?: number;
}

/** A list, how its reading ends, and how it is told of events. */
function watched() {
	let told: (events: OrchionEvent[]) => void = () => {};
	const unwatch = vi.fn();
	const live = {
		watch: (listener: typeof told) => {
			told = listener;
			return unwatch;
		}
	} as unknown as Live;
	const reads: { answer: (all: Named[]) => void; fail: (error: Error) => void }[] = [];
	const list = new WatchedList<Named>(
		live,
		() => new Promise((answer, fail) => reads.push({ answer, fail })),
		(event) => event.queue
	);
	const tell = (type: OrchionEvent['type'], queue: Named) =>
		told([
			{ type, queue },
			{ type, node: { id: 'other' } }
		] as OrchionEvent[]);
	return { list, reads, tell, unwatch };
}

it('reads once, and takes in what comes', async () => {
	const { list, reads, tell, unwatch } = watched();
	const reading = list.read();
	expect(list.items).toBeUndefined();
	reads[0]?.answer([{ name: 'b' }, { name: 'a' }]);
	await reading;
	expect(list.items).toEqual([{ name: 'a' }, { name: 'b' }]);
	tell('EVENT_TYPE_UPDATED', { name: 'c' });
	tell('EVENT_TYPE_REMOVED', { name: 'a' });
	expect(list.items).toEqual([{ name: 'b' }, { name: 'c' }]);
	list.put({ name: 'b', weight: 2 });
	expect(list.get('b')).toEqual({ name: 'b', weight: 2 });
	list.stop();
	expect(unwatch).toHaveBeenCalledOnce();
});

it('what comes while it is read is newer', async () => {
	const { list, reads, tell } = watched();
	const reading = list.read();
	tell('EVENT_TYPE_UPDATED', { name: 'a', weight: 2 });
	tell('EVENT_TYPE_REMOVED', { name: 'b' });
	reads[0]?.answer([{ name: 'a', weight: 1 }, { name: 'b' }]);
	await reading;
	expect(list.items).toEqual([{ name: 'a', weight: 2 }]);
});

it('says why it could not be read, and keeps what it has', async () => {
	const { list, reads } = watched();
	const first = list.read();
	reads[0]?.answer([{ name: 'a' }]);
	await first;
	const again = list.read();
	reads[1]?.fail(new Error('gone'));
	await again;
	expect(list.error).toContain('gone');
	expect(list.items).toEqual([{ name: 'a' }]);
});
