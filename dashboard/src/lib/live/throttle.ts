/**
 * Throttle runs something when asked to, but not more often than once an interval: what is asked
 * meanwhile is done once, at the interval's end.
 */
export class Throttle {
	private timer: ReturnType<typeof setTimeout> | undefined;
	private again = false;

	constructor(
		private readonly intervalMs: number,
		private readonly run: () => void
	) {}

	ask(): void {
		if (this.timer !== undefined) {
			this.again = true;
			return;
		}
		this.timer = setTimeout(() => {
			this.timer = undefined;
			if (!this.again) return;
			this.again = false;
			this.ask();
		}, this.intervalMs);
		this.run();
	}

	/** Forgets what was asked. */
	stop(): void {
		clearTimeout(this.timer);
		this.timer = undefined;
		this.again = false;
	}
}
