import { describe, expect, it, vi } from 'vitest';
import { OrchionApi } from './client';
import { ApiError } from './error';

type Answer = Response | ((signal: AbortSignal | undefined) => Promise<Response>);

/** An API whose far side gives these answers in turn, and the requests it got. */
function apiWith(...answers: Answer[]) {
	const requests: { url: string; method?: string; body?: unknown }[] = [];
	const fetch = vi.fn(async (url: string, init: RequestInit) => {
		requests.push({
			url,
			method: init.method,
			body: typeof init.body === 'string' ? JSON.parse(init.body) : undefined
		});
		const answer = answers.shift();
		if (!answer) throw new TypeError('Failed to fetch');
		return answer instanceof Response ? answer : answer(init.signal ?? undefined);
	});
	return { api: new OrchionApi('http://orchestrator:8080/', fetch as never), requests };
}

const json = (status: number, body: unknown) =>
	new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });

async function errorOf(promise: Promise<unknown>): Promise<ApiError> {
	const error = await promise.then(
		() => undefined,
		(cause: unknown) => cause
	);
	expect(error).toBeInstanceOf(ApiError);
	return error as ApiError;
}

describe('requests', () => {
	it('reads a list page by page', async () => {
		const { api, requests } = apiWith(
			json(200, { nodes: [{ id: 'a' }], nextPageToken: 'next' }),
			json(200, { nodes: [{ id: 'b' }], nextPageToken: '' })
		);
		expect(await api.allNodes()).toEqual([{ id: 'a' }, { id: 'b' }]);
		expect(requests.map(({ url }) => url)).toEqual([
			'http://orchestrator:8080/api/nodes?state=all&pageSize=1000',
			'http://orchestrator:8080/api/nodes?state=all&pageSize=1000&pageToken=next'
		]);
	});

	it('are made once more when the connection broke and they only read', async () => {
		const broken = () => Promise.reject(new TypeError('network changed'));
		const { api, requests } = apiWith(broken, json(200, { id: 'a' }), broken, json(200, {}));
		expect(await api.getJob('a')).toEqual({ id: 'a' });
		expect((await errorOf(api.cancelJob('a', 'enough'))).kind).toBe('network');
		expect(requests.map(({ method }) => method)).toEqual(['GET', 'GET', 'POST']);
	});

	it('escapes ids in paths, and sends what verbs need', async () => {
		const { api, requests } = apiWith(json(200, {}), json(200, {}));
		await api.drainNode('a/b c');
		await api.cancelJob('j', 'because');
		expect(requests).toEqual([
			{ url: 'http://orchestrator:8080/api/nodes/a%2Fb%20c:drain', method: 'POST', body: {} },
			{
				url: 'http://orchestrator:8080/api/jobs/j:cancel',
				method: 'POST',
				body: { reason: 'because' }
			}
		]);
	});

	it('leaves out of a query what is not given', () => {
		const api = new OrchionApi('');
		expect(api.url('/api/jobs', { state: '', nodeId: undefined, pageSize: 5 })).toBe(
			'/api/jobs?pageSize=5'
		);
	});
});

describe('errors', () => {
	it('carry the API’s code, message and field', async () => {
		const { api } = apiWith(
			json(400, {
				code: 3,
				message: 'spec.container.image must not be empty',
				details: [{ fieldViolations: [{ field: 'spec.container.pull_policy' }] }]
			})
		);
		const error = await errorOf(api.submitJob({}));
		expect(error).toMatchObject({
			kind: 'http',
			status: 400,
			code: 3,
			codeName: 'INVALID_ARGUMENT',
			message: 'spec.container.image must not be empty',
			field: 'spec.container.pullPolicy',
			temporary: false
		});
	});

	it('find the field in the message when there are no details', async () => {
		const { api } = apiWith(json(400, { code: 3, message: 'field spec.timeout: is negative' }));
		expect((await errorOf(api.submitJob({}))).field).toBe('spec.timeout');
		const other = apiWith(json(404, { code: 5, message: 'job a.b is not known' }));
		const error = await errorOf(other.api.getJob('a.b'));
		expect(error.field).toBeUndefined();
		expect(error.notFound).toBe(true);
	});

	it('of the gateway and of proxies are told too', async () => {
		const { api } = apiWith(
			json(404, {
				error: { message: 'no model "x"; there are: y', type: 'invalid_request_error' }
			}),
			new Response('<html>Bad Gateway</html>', { status: 502, statusText: 'Bad Gateway' }),
			new Response('Host is not allowed\n', { status: 403 })
		);
		expect((await errorOf(api.gatewayModels())).message).toBe('no model "x"; there are: y');
		const proxy = await errorOf(api.version());
		expect(proxy.message).toBe('the orchestrator answered 502 Bad Gateway');
		expect(proxy.temporary).toBe(true);
		expect((await errorOf(api.version())).message).toBe('Host is not allowed');
	});

	it('name an address that does not answer, or not in this language', async () => {
		const { api } = apiWith();
		expect(await errorOf(api.version())).toMatchObject({
			kind: 'network',
			message:
				"cannot reach http://orchestrator:8080: no orchestrator runs there, or it does not allow this page's origin"
		});
		const page = apiWith(
			new Response('<!doctype html>', { headers: { 'content-type': 'text/html' } }),
			new Response('hello', { headers: { 'content-type': 'text/plain' } })
		);
		expect(await errorOf(page.api.version())).toMatchObject({
			kind: 'protocol',
			message: 'http://orchestrator:8080 answers, but it is not an orchestrator'
		});
		expect(await errorOf(page.api.version())).toMatchObject({
			kind: 'protocol',
			message: 'the orchestrator answered something that is not JSON'
		});
	});

	it('tell a timeout from an abort', async () => {
		const never: Answer = (signal) =>
			new Promise((_, reject) =>
				signal?.addEventListener('abort', () => reject(signal.reason as Error))
			);
		const { api } = apiWith(never, never);
		expect(await errorOf(api.version({ timeoutMs: 1 }))).toMatchObject({
			kind: 'timeout',
			message: 'http://orchestrator:8080 did not answer within 0.001 s'
		});
		const stop = new AbortController();
		const call = api.version({ signal: stop.signal });
		stop.abort();
		await expect(call).rejects.toMatchObject({ name: 'AbortError' });
	});
});

describe('followLog', () => {
	/** A body that comes in pieces, cut anywhere. */
	const body = (...pieces: string[]) =>
		new Response(
			new ReadableStream({
				start(controller) {
					const encoder = new TextEncoder();
					for (const piece of pieces) controller.enqueue(encoder.encode(piece));
					controller.close();
				}
			}),
			{ headers: { 'content-type': 'application/x-ndjson' } }
		);
	const collect = async (api: OrchionApi) => {
		const texts: (string | undefined)[] = [];
		for await (const entry of api.followLog('j', { attempt: 2 }, new AbortController().signal)) {
			texts.push(entry.text);
		}
		return texts;
	};

	it('reads entries however the stream is cut', async () => {
		const { api, requests } = apiWith(
			body('{"text":"o', 'ne"}\n{"text":"two"}\r\n', '\n{"text":"thr', 'ee"}')
		);
		expect(await collect(api)).toEqual(['one', 'two', 'three']);
		expect(requests[0]?.url).toBe('http://orchestrator:8080/api/jobs/j/logs?follow=true&attempt=2');
	});

	it('throws the error that a log ends with', async () => {
		const { api } = apiWith(
			body('{"text":"one"}\n{"error":{"code":14,"message":"shutting down"}}\n')
		);
		const error = await errorOf(collect(api));
		expect(error).toMatchObject({
			message: 'shutting down',
			codeName: 'UNAVAILABLE',
			temporary: true
		});
	});
});
