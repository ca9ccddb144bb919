import type { OrchionEvent } from '@orchion/api';
import { messageOf } from '../api/error';

/** Where the live connection stands. */
export type Connection =
	| { state: 'connecting' }
	| { state: 'live' }
	/** Lost; tried again at retryAt (milliseconds since the epoch). */
	| { state: 'waiting'; retryAt: number; attempt: number; reason: string }
	/** Let go while nobody looks. */
	| { state: 'paused' }
	| { state: 'stopped' };

/** The part of EventSource that is used, so that a test can be one. */
export interface EventChannel {
	addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void;
	close(): void;
}

export interface StreamOptions {
	open: () => EventChannel;
	/** Says why the connection failed: resolves when a plain call works, throws when it does not. */
	probe: () => Promise<unknown>;
	onConnection: (connection: Connection) => void;
	/** The stream is open: read the lists now, what changes from here on arrives as events. */
	onOpen: () => void;
	/** Missed events cannot be told: read the lists again. */
	onReset: () => void;
	onEvent: (event: OrchionEvent) => void;
	/** A number in [0, 1) for jitter. */
	random?: () => number;
}

/** The names of the events that carry objects. */
const OBJECT_EVENTS = ['node', 'job', 'deployment', 'log', 'cluster', 'queue', 'schedule'] as const;

export const FIRST_RETRY_MS = 1000;
export const MAX_RETRY_MS = 30_000;

/**
 * EventStream keeps one connection for live events open. The browser's own reconnecting knows no
 * backoff and tells nothing, so a lost connection is closed and opened again here: with a delay that
 * doubles up to a limit, jittered so that many dashboards do not come back at once.
 */
export class EventStream {
	private channel: EventChannel | undefined;
	private timer: ReturnType<typeof setTimeout> | undefined;
	private failures = 0;
	/** Counts openings, so that what a closed connection still says is not heard. */
	private generation = 0;

	constructor(private readonly options: StreamOptions) {}

	/** Connects now, be it for the first time, after a pause or ahead of the next retry. */
	connect(): void {
		this.drop();
		const generation = ++this.generation;
		const current = () => generation === this.generation;
		this.options.onConnection({ state: 'connecting' });
		const channel = this.options.open();
		this.channel = channel;
		channel.addEventListener('open', () => {
			if (!current()) return;
			this.failures = 0;
			this.options.onConnection({ state: 'live' });
			this.options.onOpen();
		});
		channel.addEventListener('error', () => {
			if (current()) void this.retry();
		});
		channel.addEventListener('reset', () => {
			if (current()) this.options.onReset();
		});
		for (const name of OBJECT_EVENTS) {
			channel.addEventListener(name, (message) => {
				if (!current()) return;
				const event = parseEvent(message.data);
				if (event?.type === 'EVENT_TYPE_RESET') this.options.onReset();
				else if (event) this.options.onEvent(event);
			});
		}
	}

	/** Lets the connection go until connect is called. */
	pause(): void {
		this.drop();
		this.generation++;
		this.options.onConnection({ state: 'paused' });
	}

	/** Ends it. May be called twice. */
	stop(): void {
		this.drop();
		this.generation++;
		this.options.onConnection({ state: 'stopped' });
	}

	private drop(): void {
		this.channel?.close();
		this.channel = undefined;
		clearTimeout(this.timer);
		this.timer = undefined;
	}

	private async retry(): Promise<void> {
		this.drop();
		const generation = ++this.generation;
		const attempt = ++this.failures;
		const delay = retryDelay(attempt, (this.options.random ?? Math.random)());
		const retryAt = Date.now() + delay;
		const waiting = { state: 'waiting', retryAt, attempt } as const;
		this.options.onConnection({ ...waiting, reason: 'the connection was lost' });
		this.timer = setTimeout(() => this.connect(), delay);
		// An EventSource does not say why it failed; a plain call does.
		const reason = await this.options.probe().then(
			() => undefined,
			(error: unknown) => messageOf(error)
		);
		if (generation !== this.generation) return;
		this.options.onConnection({
			...waiting,
			reason: reason ?? 'the orchestrator answers, but its event stream ended'
		});
		// Where only the stream is broken (some proxies do that), each retry still brings the lists.
		if (reason === undefined) this.options.onReset();
	}
}

/** Milliseconds to wait before the given attempt (from 1), with up to a quarter taken off. */
export function retryDelay(attempt: number, random: number): number {
	const full = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** (attempt - 1));
	return Math.round(full * (1 - random / 4));
}

function parseEvent(data: string): OrchionEvent | undefined {
	try {
		return JSON.parse(data) as OrchionEvent;
	} catch {
		// A message that is not JSON is no event of this API; the next list makes up for it.
		return undefined;
	}
}
