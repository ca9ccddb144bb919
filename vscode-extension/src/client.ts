import type { Deployment, DeploymentSpec, Job, Node, OrchionEvent, Status } from '@orchion/api';

/** The orchestrator's REST API, as far as the tree views need it. */
export class Client {
	/** @param base where the orchestrator answers, without a slash at the end */
	constructor(readonly base: string) {}

	async nodes(signal: AbortSignal): Promise<Node[]> {
		return this.#pages('/api/nodes', signal, (page: { nodes?: Node[] }) => page.nodes);
	}

	/** The newest jobs; a tree is no place for a whole history. */
	async jobs(signal: AbortSignal, limit: number): Promise<Job[]> {
		const page = await this.#get<{ jobs?: Job[] }>(`/api/jobs?pageSize=${limit}`, signal);
		return page.jobs ?? [];
	}

	async deployments(signal: AbortSignal): Promise<Deployment[]> {
		return this.#pages(
			'/api/deployments',
			signal,
			(page: { deployments?: Deployment[] }) => page.deployments
		);
	}

	/** Has a model served; its name is made from the model's. */
	async deploy(model: string, engine: NonNullable<DeploymentSpec['engine']>): Promise<Deployment> {
		return this.#send('POST', '/api/deployments', { spec: { model, engine, replicas: 1 } });
	}

	/** Has a deployment run so many replicas, whatever the demand. */
	async scale(name: string, replicas: number): Promise<Deployment> {
		return this.#send('PATCH', deploymentPath(name), { spec: { replicas } });
	}

	async remove(name: string): Promise<void> {
		await this.#send('DELETE', deploymentPath(name));
	}

	/** The live events, until the stream ends or the signal fires. */
	async *events(signal: AbortSignal): AsyncGenerator<ServerEvent> {
		const response = await fetch(this.base + '/api/events', {
			headers: { Accept: 'text/event-stream' },
			signal
		});
		if (!response.ok || !response.body) {
			throw new Error(await failure(response));
		}
		yield* readEvents(response.body);
	}

	async #pages<P, T>(
		path: string,
		signal: AbortSignal,
		items: (page: P) => T[] | undefined
	): Promise<T[]> {
		const all: T[] = [];
		let token = '';
		do {
			const page = await this.#get<P & { nextPageToken?: string }>(
				`${path}?pageSize=1000&pageToken=${encodeURIComponent(token)}`,
				signal
			);
			all.push(...(items(page) ?? []));
			token = page.nextPageToken ?? '';
		} while (token);
		return all;
	}

	async #get<T>(path: string, signal: AbortSignal): Promise<T> {
		return this.#ask<T>(path, {
			signal: AbortSignal.any([signal, AbortSignal.timeout(requestTimeout)])
		});
	}

	async #send<T>(method: string, path: string, body?: unknown): Promise<T> {
		return this.#ask<T>(path, {
			method,
			body: body === undefined ? undefined : JSON.stringify(body),
			signal: AbortSignal.timeout(requestTimeout)
		});
	}

	async #ask<T>(path: string, init: RequestInit): Promise<T> {
		const response = await fetch(this.base + path, {
			...init,
			headers: { Accept: 'application/json', 'Content-Type': 'application/json' }
		});
		if (!response.ok) {
			throw new Error(await failure(response));
		}
		return (await response.json()) as T;
	}
}

function deploymentPath(name: string): string {
	return `/api/deployments/${encodeURIComponent(name)}`;
}

/** Milliseconds for a request that is answered whole. */
const requestTimeout = 10_000;

/** One server-sent event; reset says that something was missed. */
export interface ServerEvent {
	name: string;
	data: OrchionEvent;
}

async function failure(response: Response): Promise<string> {
	const text = await response.text();
	try {
		const status = JSON.parse(text) as Status;
		if (status.message) {
			return status.message;
		}
	} catch {
		// Not the orchestrator's own shape: the status says it.
	}
	return `${response.status} ${response.statusText}`;
}

/** Longer than any event: what does not end by then is no event stream. */
const maxEvent = 8 << 20;

/**
 * Reads text/event-stream.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
 */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
	const decoder = new TextDecoder();
	let buffer = '';
	for await (const chunk of body as unknown as AsyncIterable<Uint8Array>) {
		buffer += decoder.decode(chunk, { stream: true }).replaceAll('\r\n', '\n');
		if (buffer.length > maxEvent) {
			throw new Error('what answers at /api/events is no event stream');
		}
		let end: number;
		while ((end = buffer.indexOf('\n\n')) >= 0) {
			const event = parseEvent(buffer.slice(0, end));
			buffer = buffer.slice(end + 2);
			if (event) {
				yield event;
			}
		}
	}
}

function parseEvent(block: string): ServerEvent | undefined {
	let name = 'message';
	const data: string[] = [];
	for (const line of block.split('\n')) {
		const colon = line.indexOf(':');
		const field = colon < 0 ? line : line.slice(0, colon);
		const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
		if (field === 'event') {
			name = value;
		} else if (field === 'data') {
			data.push(value);
		}
	}
	if (data.length === 0) {
		return name === 'reset' ? { name, data: {} as OrchionEvent } : undefined;
	}
	return { name, data: JSON.parse(data.join('\n')) as OrchionEvent };
}
