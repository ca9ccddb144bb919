import { isAbort, messageOf } from '../api/error';

/**
 * Poller asks for what no event tells of, again and again: so long after each answer, and not while
 * nobody looks at the page.
 */
export class Poller<T> {
	private stopping: AbortController | undefined;
	private timer: ReturnType<typeof setTimeout> | undefined;
	private asking = false;

	constructor(
		private readonly read: (signal: AbortSignal) => Promise<T>,
		private readonly periodMs: number,
		/** Gets an answer, or why there is none. */
		private readonly told: (answer: T | undefined, error: string | undefined) => void
	) {}

	start(): void {
		if (this.stopping) return;
		this.stopping = new AbortController();
		document.addEventListener('visibilitychange', this.look);
		void this.ask();
	}

	/** Ends it; nothing is told from then on. May be called twice. */
	stop(): void {
		this.stopping?.abort();
		this.stopping = undefined;
		clearTimeout(this.timer);
		this.timer = undefined;
		document.removeEventListener('visibilitychange', this.look);
	}

	private readonly look = () => {
		if (document.hidden || this.asking) return;
		clearTimeout(this.timer);
		void this.ask();
	};

	private async ask(): Promise<void> {
		const signal = this.stopping?.signal;
		if (!signal) return;
		this.asking = true;
		let answer: T | undefined;
		let error: string | undefined;
		try {
			answer = await this.read(signal);
		} catch (cause) {
			if (!isAbort(cause)) error = messageOf(cause);
		}
		if (signal.aborted) return;
		this.asking = false;
		this.told(answer, error);
		if (document.hidden) return;
		this.timer = setTimeout(() => void this.ask(), this.periodMs);
	}
}
