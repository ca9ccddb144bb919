import type { LogEntry } from '@orchion/api';
import type { OrchionApi } from '../api/client';
import { ApiError, messageOf } from '../api/error';
import { retryDelay } from '../live/stream';
import { LogBuffer, type LogBlock } from './log';

export type FollowState = 'connecting' | 'following' | 'ended' | 'retrying' | 'failed';

/**
 * LogFollower reads the log of one job, or of one attempt, and goes on until the job has ended. A
 * lost connection is opened again and read from the beginning; the buffer drops what it has.
 */
export class LogFollower {
	blocks = $state.raw<LogBlock[]>([]);
	dropped = $state(0);
	state = $state<FollowState>('connecting');
	error = $state<string>();

	private readonly buffer = new LogBuffer();
	private readonly stopping = new AbortController();
	private pending: LogEntry[] = [];
	private frame: number | undefined;

	constructor(
		private readonly api: OrchionApi,
		private readonly jobId: string,
		private readonly attempt: number | undefined
	) {}

	/** Reads until the log has ended or stop is called. */
	async run(): Promise<void> {
		for (let failures = 0; !this.stopping.signal.aborted;) {
			try {
				const entries = this.api.followLog(
					this.jobId,
					{ attempt: this.attempt },
					this.stopping.signal
				);
				for await (const entry of entries) {
					failures = 0;
					this.state = 'following';
					this.error = undefined;
					this.pending.push(entry);
					this.drawSoon();
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

	text(): string {
		return this.buffer.text();
	}

	private drawSoon(): void {
		this.frame ??= requestAnimationFrame(() => this.draw());
	}

	private draw(): void {
		if (this.frame !== undefined) cancelAnimationFrame(this.frame);
		this.frame = undefined;
		const entries = this.pending;
		this.pending = [];
		if (!this.buffer.add(entries)) return;
		this.blocks = this.buffer.blocks;
		this.dropped = this.buffer.dropped;
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
