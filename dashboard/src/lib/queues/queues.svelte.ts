import type { Queue } from '../api/client';
import { isAbort, messageOf } from '../api/error';
import type { Live } from '../live/live.svelte';
import { Throttle } from '../live/throttle';

/** Queues have no events of their own; they are read again when jobs change, but not more often. */
const INTERVAL_MS = 2000;

/** QueueList is what the queues are like, ordered by name. */
export class QueueList {
	queues = $state.raw<Queue[]>();
	error = $state<string>();
	private readonly stopping = new AbortController();
	private readonly reading: Throttle;

	constructor(private readonly live: Live) {
		this.reading = new Throttle(INTERVAL_MS, () => void this.read());
	}

	/** Reads them, now or soon. */
	ask(): void {
		this.reading.ask();
	}

	/** Takes in a queue that a call answered. */
	put(queue: Queue): void {
		const others = (this.queues ?? []).filter((one) => one.name !== queue.name);
		this.queues = [...others, queue].sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1));
	}

	stop(): void {
		this.reading.stop();
		this.stopping.abort();
	}

	private async read(): Promise<void> {
		try {
			this.queues = await this.live.api.allQueues({ signal: this.stopping.signal });
			this.error = undefined;
		} catch (error) {
			if (!this.stopping.signal.aborted && !isAbort(error)) this.error = messageOf(error);
		}
	}
}
