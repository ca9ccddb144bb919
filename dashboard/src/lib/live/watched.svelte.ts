/* eslint-disable svelte/prefer-svelte-reactivity -- the map is replaced whole */
import type { OrchionEvent } from '@orchion/api';
import { isAbort, messageOf } from '../api/error';
import type { Live } from './live.svelte';

/**
 * WatchedList is a list that one page shows: read once, and then kept by events. What everybody
 * needs is in Live's cluster instead.
 */
export class WatchedList<T extends { name?: string }> {
	/** By name; undefined until the list was read. */
	private byName = $state.raw<ReadonlyMap<string, T>>();
	error = $state<string>();
	readonly items = $derived(
		this.byName &&
			[...this.byName.values()].sort((a, b) => ((a.name ?? '') < (b.name ?? '') ? -1 : 1))
	);
	private reading: AbortController | undefined;
	/** What came while the list was read, which may be older. */
	private meanwhile: OrchionEvent[] = [];
	private readonly unwatch: () => void;

	constructor(
		live: Live,
		private readonly readAll: (options: { signal: AbortSignal }) => Promise<T[]>,
		private readonly objectOf: (event: OrchionEvent) => T | undefined
	) {
		this.unwatch = live.watch((events) => this.take(events));
	}

	/** One of them; undefined: it is not there, or not yet. */
	get(name: string): T | undefined {
		return this.byName?.get(name);
	}

	async read(): Promise<void> {
		this.reading?.abort();
		const reading = new AbortController();
		this.reading = reading;
		this.meanwhile = [];
		try {
			const all = await this.readAll({ signal: reading.signal });
			this.byName = new Map(all.map((one) => [one.name ?? '', one]));
			this.error = undefined;
			this.apply(this.meanwhile);
		} catch (error) {
			if (!reading.signal.aborted && !isAbort(error)) this.error = messageOf(error);
		} finally {
			if (this.reading === reading) this.reading = undefined;
		}
	}

	/** Takes in what a call answered, ahead of its event. */
	put(one: T): void {
		this.byName = new Map(this.byName).set(one.name ?? '', one);
	}

	stop(): void {
		this.unwatch();
		this.reading?.abort();
	}

	private take(events: OrchionEvent[]): void {
		if (this.reading) this.meanwhile.push(...events);
		if (this.byName) this.apply(events);
	}

	private apply(events: OrchionEvent[]): void {
		const next = new Map(this.byName);
		let changed = false;
		for (const event of events) {
			const one = this.objectOf(event);
			if (!one?.name) continue;
			changed = true;
			if (event.type === 'EVENT_TYPE_REMOVED') next.delete(one.name);
			else next.set(one.name, one);
		}
		if (changed) this.byName = next;
	}
}
