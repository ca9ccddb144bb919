import { untrack } from 'svelte';
import type { OrchionEvent } from '@orchion/api';
import type { OrchionApi } from '../api/client';
import type { App } from '../app.svelte';
import { hasWords } from '../format/words';
import { WatchedList } from './watched.svelte';

/** Rows are drawn whole, so of thousands not all at once. */
const PAGE = 100;

/**
 * ListPage is a page's WatchedList with a filter on it: read again whenever the cluster is, and
 * shown so many rows at a time. It is made while its page is.
 */
export class ListPage<T extends { name?: string }> {
	filter = $state('');
	private list = $state.raw<WatchedList<T>>();
	private most = $state(PAGE);
	/** All of them; undefined until they were read. */
	readonly items = $derived(this.list?.items);
	/** Those that have every word of the filter in their names. */
	readonly matching = $derived(
		(this.items ?? []).filter((one) => hasWords(this.filter, [one.name]))
	);
	readonly shown = $derived(this.matching.slice(0, this.most));

	constructor(
		app: App,
		readAll: (api: OrchionApi, options: { signal: AbortSignal }) => Promise<T[]>,
		objectOf: (event: OrchionEvent) => T | undefined
	) {
		$effect(() => {
			const { live } = app;
			const list = new WatchedList<T>(live, (options) => readAll(live.api, options), objectOf);
			this.list = list;
			return () => list.stop();
		});
		$effect(() => {
			void app.live.listing;
			const { list } = this;
			untrack(() => void list?.read());
		});
	}

	get error(): string | undefined {
		return this.list?.error;
	}

	/** Reads it again, for a person who asks. */
	read(): void {
		void this.list?.read();
	}

	/** Takes in what a call answered, ahead of its event. */
	put(one: T): void {
		this.list?.put(one);
	}

	showMore(): void {
		this.most += PAGE;
	}
}
