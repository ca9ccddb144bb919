import { expect, it } from 'vitest';
import { OrchionApi } from '../api/client';
import { Chat } from './chat.svelte';

/** A gateway whose answer says what is pushed, until its request is aborted. */
function gateway() {
	let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
	const api = new OrchionApi('http://gateway', (_, init) => {
		const body = new ReadableStream<Uint8Array>({
			start(controller) {
				stream = controller;
				init?.signal?.addEventListener('abort', () =>
					controller.error(new DOMException('aborted', 'AbortError'))
				);
			}
		});
		return Promise.resolve(
			new Response(body, { headers: { 'content-type': 'text/event-stream' } })
		);
	});
	const say = (content: string) =>
		stream?.enqueue(
			new TextEncoder().encode(`data: ${JSON.stringify({ choices: [{ delta: { content } }] })}\n\n`)
		);
	return { api, say };
}

it('does not bring back what was forgotten while an answer came', async () => {
	const { api, say } = gateway();
	const chat = new Chat(api);
	const asked = chat.ask('m', 'hello');
	await Promise.resolve();
	say('hi');
	await new Promise((resolve) => setTimeout(resolve));
	expect(chat.turns.map(({ model, content }) => [model, content])).toEqual([
		['m', 'hello'],
		['m', 'hi']
	]);
	chat.clear();
	await asked;
	expect(chat.turns).toEqual([]);
	expect(chat.busy).toBe(false);
});

it('keeps what had come of an answer that was stopped', async () => {
	const { api, say } = gateway();
	const chat = new Chat(api);
	const asked = chat.ask('m', 'hello');
	await Promise.resolve();
	say('hi');
	await new Promise((resolve) => setTimeout(resolve));
	chat.stop();
	await asked;
	expect(chat.turns.at(-1)).toMatchObject({ content: 'hi', ended: 'stopped' });
	expect(chat.busy).toBe(false);
});
