import type { Job } from '@orchion/api';
import { isAbort, messageOf } from '../api/error';
import { parseTime } from '../format/time';
import { JOB_PAGE_SIZE, type Live } from '../live/live.svelte';
import { matchesQuery, newestFirst, withinRead, type JobQuery } from './view';

/**
 * JobPages reads a filtered list of jobs page by page into the live view. What it shows is taken
 * from there, so that rows change, come and go by events; jobs older than the last page that was
 * read are left out until they are asked for.
 */
export class JobPages {
	reading = $state(false);
	error = $state<string>();
	hasMore = $state(false);
	private oldestRead = $state<number | undefined>(Infinity);
	private nextToken = '';
	private current: AbortController | undefined;

	constructor(
		private readonly live: Live,
		private readonly query: JobQuery,
		/** The query's label selector as the API takes it. */
		private readonly label: string
	) {}

	/** The jobs that were read or have come since, newest first. */
	list(): Job[] {
		return [...this.live.cluster.jobs.values()]
			.filter((job) => matchesQuery(job, this.query) && withinRead(job, this.oldestRead))
			.sort(newestFirst);
	}

	/** Reads the next page; the first time, the first. Answers whether it was not stopped meanwhile. */
	async readMore(): Promise<boolean> {
		this.current?.abort();
		const current = new AbortController();
		this.current = current;
		this.reading = true;
		try {
			const page = await this.live.readJobs(
				this.live.api.listJobs(
					{
						state: this.query.states.join(','),
						nodeId: this.query.nodeId,
						label: this.label,
						queue: this.query.queue,
						pageSize: JOB_PAGE_SIZE,
						pageToken: this.nextToken
					},
					{ signal: current.signal }
				),
				(answer) => answer.jobs ?? []
			);
			this.nextToken = page.nextPageToken ?? '';
			this.hasMore = this.nextToken !== '';
			this.oldestRead = this.hasMore ? parseTime(page.jobs?.at(-1)?.createdAt) : undefined;
			this.error = undefined;
		} catch (error) {
			if (current.signal.aborted || isAbort(error)) return false;
			this.error = messageOf(error);
		} finally {
			if (this.current === current) this.reading = false;
		}
		return true;
	}

	stop(): void {
		this.current?.abort();
	}
}
