import { expect, test } from 'vitest';
import { readEvents } from './client.ts';

function stream(...chunks: string[]): ReadableStream<Uint8Array> {
	const encoder = new TextEncoder();
	return new ReadableStream({
		start(controller) {
			chunks.forEach((chunk) => controller.enqueue(encoder.encode(chunk)));
			controller.close();
		}
	});
}

async function read(...chunks: string[]) {
	const events = [];
	for await (const event of readEvents(stream(...chunks))) {
		events.push(event);
	}
	return events;
}

test('events arrive whole however they are cut', async () => {
	const text =
		': hello\n\nid: 1\nevent: node\ndata: {"node":\ndata: {"id":"grüße"}}\n\nevent: reset\n\n';
	const bytes = new TextEncoder().encode(text);
	const want = [
		{ name: 'node', data: { node: { id: 'grüße' } } },
		{ name: 'reset', data: {} }
	];
	for (let cut = 0; cut <= bytes.length; cut++) {
		const body = new ReadableStream<Uint8Array>({
			start(controller) {
				controller.enqueue(bytes.slice(0, cut));
				controller.enqueue(bytes.slice(cut));
				controller.close();
			}
		});
		const events = [];
		for await (const event of readEvents(body)) {
			events.push(event);
		}
		expect(events).toEqual(want);
	}
});

test('an event that has not ended is none', async () => {
	expect(await read('event: node\ndata: {"node":{}}\n')).toEqual([]);
});

test('what is no event stream is an error', async () => {
	await expect(read('x'.repeat(9 << 20))).rejects.toThrow('no event stream');
});
