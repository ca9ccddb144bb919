import type { Deployment, Job, Node } from '@orchion/api';
import type { Client, ServerEvent } from './client.ts';

/** Whether the orchestrator answers; also the context key orchion.state. */
export type ConnectionState = 'connecting' | 'connected' | 'unreachable';

/** How many jobs are kept: the newest ones. */
export const maxJobs = 200;

/** Milliseconds between an event and the views' redrawing, so that many make one. */
const redrawDelay = 200;

/** Milliseconds before the first and, doubled each time, the last new try. */
const firstRetry = 1_000;
const lastRetry = 30_000;

/**
 * Store holds what the views show and keeps it current: it lists everything
 * once, then applies live events; when the stream breaks it lists again.
 */
export class Store {
	readonly nodes = new Map<string, Node>();
	readonly jobs = new Map<string, Job>();
	readonly deployments = new Map<string, Deployment>();
	state: ConnectionState = 'connecting';
	/** Why it is unreachable. */
	problem = '';

	#client: Client;
	#changed: () => void;
	#stopped = new AbortController();
	#round = new AbortController();
	#redraw: ReturnType<typeof setTimeout> | undefined;

	constructor(client: Client, changed: () => void) {
		this.#client = client;
		this.#changed = changed;
	}

	/** Runs until stop. */
	async run(): Promise<void> {
		let retry = firstRetry;
		while (!this.#stopped.signal.aborted) {
			this.#round = new AbortController();
			const signal = AbortSignal.any([this.#stopped.signal, this.#round.signal]);
			try {
				await this.#follow(signal, () => (retry = firstRetry));
				// The orchestrator ended the stream, as it does when it stops.
				this.problem = 'the orchestrator ended the connection';
			} catch (error) {
				if (this.#stopped.signal.aborted) {
					return;
				}
				if (this.#round.signal.aborted) {
					continue; // somebody asked for a refresh
				}
				this.problem = describe(error);
			}
			this.#setState('unreachable');
			await this.#sleep(retry, signal);
			retry = Math.min(retry * 2, lastRetry);
		}
	}

	/** Lists everything again, now. */
	refresh(): void {
		this.#round.abort();
	}

	stop(): void {
		this.#stopped.abort();
		clearTimeout(this.#redraw);
	}

	async #follow(signal: AbortSignal, connected: () => void): Promise<void> {
		// The stream is opened first: what changes while the lists are read is
		// in it and is applied to them.
		const events = this.#client.events(signal)[Symbol.asyncIterator]();
		let next = events.next();
		next.catch(() => undefined); // looked at below; here the lists may fail first
		await this.#list(signal);
		connected();
		this.#setState('connected');
		for (let result = await next; !result.done; result = await next) {
			if (result.value.name === 'reset') {
				await this.#list(signal);
			} else {
				this.apply(result.value);
			}
			this.#scheduleRedraw();
			next = events.next();
		}
	}

	async #list(signal: AbortSignal): Promise<void> {
		const [nodes, jobs, deployments] = await Promise.all([
			this.#client.nodes(signal),
			this.#client.jobs(signal, maxJobs),
			this.#client.deployments(signal)
		]);
		replace(this.nodes, nodes, (node) => node.id);
		// Oldest first, so that the map's order is the order of arrival.
		replace(this.jobs, jobs.reverse(), (job) => job.id);
		replace(this.deployments, deployments, (deployment) => deployment.name);
		this.#scheduleRedraw();
	}

	/** Applies one live event. */
	apply({ data }: ServerEvent): void {
		const event = data as { type?: string; node?: Node; job?: Job; deployment?: Deployment };
		const removed = event.type === 'EVENT_TYPE_REMOVED';
		if (event.node?.id) {
			// The tree shows active nodes, as GET /api/nodes does.
			const gone = removed || event.node.state === 'NODE_STATE_OFFLINE';
			put(this.nodes, event.node.id, event.node, gone);
		}
		if (event.job?.id) {
			put(this.jobs, event.job.id, event.job, removed);
			for (const oldest of this.jobs.keys()) {
				if (this.jobs.size <= maxJobs) {
					break;
				}
				this.jobs.delete(oldest);
			}
		}
		if (event.deployment?.name) {
			put(this.deployments, event.deployment.name, event.deployment, removed);
		}
	}

	#setState(state: ConnectionState): void {
		this.state = state;
		if (state === 'unreachable') {
			this.nodes.clear();
			this.jobs.clear();
			this.deployments.clear();
		}
		this.#scheduleRedraw();
	}

	#scheduleRedraw(): void {
		this.#redraw ??= setTimeout(() => {
			this.#redraw = undefined;
			this.#changed();
		}, redrawDelay);
	}

	async #sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
		await new Promise<void>((resolve) => {
			const timer = setTimeout(done, milliseconds);
			signal.addEventListener('abort', done, { once: true });
			function done(): void {
				clearTimeout(timer);
				signal.removeEventListener('abort', done);
				resolve();
			}
		});
	}
}

function put<T>(map: Map<string, T>, key: string, value: T, remove: boolean): void {
	if (remove) {
		map.delete(key);
	} else {
		map.set(key, value);
	}
}

function replace<T>(map: Map<string, T>, items: T[], key: (item: T) => string | undefined): void {
	map.clear();
	for (const item of items) {
		map.set(key(item) ?? '', item);
	}
}

/** Node's fetch hides why it failed in the error's cause. */
function describe(error: unknown): string {
	const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
	return cause instanceof Error ? cause.message : String(cause);
}
