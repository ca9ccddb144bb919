import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Client, readEvents } from './client.ts';

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

/** A client of a server that answers everything in one way, and what it asks. */
async function clientOf(status: number, body: string) {
	const asked: string[] = [];
	const server = createServer(async (request, response) => {
		let text = '';
		for await (const chunk of request) {
			text += chunk;
		}
		asked.push(`${request.method} ${request.url} ${text}`);
		response.writeHead(status, { 'Content-Type': 'application/json' }).end(body);
	});
	await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
	onTestFinished(() => {
		server.closeAllConnections();
		server.close();
	});
	const { port } = server.address() as AddressInfo;
	return { client: new Client(`http://127.0.0.1:${port}`), asked };
}

test('models are deployed, scaled and removed', async () => {
	const { client, asked } = await clientOf(200, '{"name":"a-b"}');
	expect(await client.deploy('a/b', 'ENGINE_VLLM')).toEqual({ name: 'a-b' });
	await client.scale('a-b', 0);
	await client.remove('a-b');
	expect(asked).toEqual([
		'POST /api/deployments {"spec":{"model":"a/b","engine":"ENGINE_VLLM","replicas":1}}',
		'PATCH /api/deployments/a-b {"spec":{"replicas":0}}',
		'DELETE /api/deployments/a-b '
	]);
});

test("a refusal is told in the orchestrator's words", async () => {
	const { client } = await clientOf(409, '{"code":6,"message":"deployment m exists and differs"}');
	await expect(client.deploy('m', 'ENGINE_OLLAMA')).rejects.toThrow(
		'deployment m exists and differs'
	);
});
