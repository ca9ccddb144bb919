/**
 * ServerClock estimates the orchestrator's clock, because "3 s ago" computed from its times and
 * this machine's clock is wrong by as much as the two differ.
 *
 * A message that was sent at server time t and is received at local time l shows an offset of t - l,
 * too small by the time it was under way. The largest of all that were seen is the nearest.
 */
export class ServerClock {
	private offset: number | undefined;

	/** Takes in that a message with this RFC 3339 time arrived at the given local time. */
	observe(serverTime: string | undefined, localMs: number): void {
		const serverMs = Date.parse(serverTime ?? '');
		if (Number.isNaN(serverMs)) return;
		this.offset = Math.max(this.offset ?? -Infinity, serverMs - localMs);
	}

	/** Forgets what was seen; a reconnect calls it, for clocks are set and machines sleep. */
	reset(): void {
		this.offset = undefined;
	}

	/** The orchestrator's time, in milliseconds since the epoch, at a local time. */
	at(localMs: number): number {
		return localMs + (this.offset ?? 0);
	}
}
