import type { LogEntry } from '@orchion/api';
import { ApiError, messageOf } from '../api/error';
import { retryDelay } from '../live/stream';
import { LOG_STREAMS, LogBuffer, type LogBlock, type LogStream } from './log';

type Blocks = Record<LogStream, readonly LogBlock[]>;

/** Where a log comes from: a job, an attempt of it, or the engine of a replica. */
export interface LogSource {
	/** Reads it from its beginning, and on until it has ended. */
	follow: (signal: AbortSignal) => AsyncIterable<LogEntry>;
	/** Where it can be read as plain text. */
	url: string;
}

export type FollowState = 'connecting' | 'following' | 'ended' | 'retrying' | 'failed';

/**
 * LogFollower reads one log, and goes on until it has ended. A
 * lost connection is opened again and read from the beginning; the buffer drops what it has.
 */
export class LogFollower {
	/** The lines as they were drawn last. */
	blocks = $state.raw<Blocks>({ all: [], stdout: [], stderr: [] });
	dropped = $state(0);
	/** Lines that came since the drawing was paused. */
	unseen = $state(0);
	state = $state<FollowState>('connecting');
	error = $state<string>();

	private readonly buffer = new LogBuffer();
	private readonly stopping = new AbortController();
	private isPaused = $state(false);
	private drawn = 0;
	private frame: number | undefined;

	constructor(private readonly source: LogSource) {}

	/** Whether what is drawn stays as it is; reading goes on. */
	get paused(): boolean {
		return this.isPaused;
	}

	set paused(paused: boolean) {
		this.isPaused = paused;
		this.draw();
	}

	/** Reads until the log has ended or stop is called. */
	async run(): Promise<void> {
		for (let failures = 0; !this.stopping.signal.aborted;) {
			try {
				for await (const entry of this.source.follow(this.stopping.signal)) {
					failures = 0;
					this.state = 'following';
					this.error = undefined;
					// A hidden tab gets no frames; what comes meanwhile must not pile up outside the buffer.
					if (this.buffer.add(entry)) this.drawSoon();
				}
				this.draw();
				this.state = 'ended';
				this.error = undefined;
				return;
			} catch (error) {
				this.draw();
				if (this.stopping.signal.aborted) return;
				this.error = messageOf(error);
				if (error instanceof ApiError && !error.temporary) {
					this.state = 'failed';
					return;
				}
				this.state = 'retrying';
				await pause(retryDelay(++failures, Math.random()), this.stopping.signal);
			}
		}
	}

	/** Ends the reading. May be called twice. */
	stop(): void {
		this.stopping.abort();
		if (this.frame !== undefined) cancelAnimationFrame(this.frame);
		this.frame = undefined;
	}

	text(stream: LogStream): string {
		return this.buffer.text(stream);
	}

	private drawSoon(): void {
		this.frame ??= requestAnimationFrame(() => this.draw());
	}

	private draw(): void {
		if (this.frame !== undefined) cancelAnimationFrame(this.frame);
		this.frame = undefined;
		if (this.isPaused) {
			this.unseen = this.buffer.count - this.drawn;
			return;
		}
		this.unseen = 0;
		if (this.buffer.count === this.drawn) return;
		this.drawn = this.buffer.count;
		this.dropped = this.buffer.dropped;
		this.blocks = Object.fromEntries(
			LOG_STREAMS.map((stream) => [stream, this.buffer.blocks(stream)])
		) as Blocks;
	}
}

/** Waits, less when the signal aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
	return new Promise((resolve) => {
		const timer = setTimeout(resolve, ms);
		signal.addEventListener(
			'abort',
			() => {
				clearTimeout(timer);
				resolve();
			},
			{ once: true }
		);
	});
}
