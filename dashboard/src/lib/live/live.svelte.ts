import type { Cluster as WholeCluster, Job, OrchionEvent } from '@orchion/api';
import { MAX_PAGE_SIZE, OrchionApi } from '../api/client';
import { ApiError, isAbort, messageOf } from '../api/error';
import { ServerClock } from './clock';
import { applyEvents, Changes, emptyCluster, mergeJobs, replaceAll, type Cluster } from './cluster';
import { nodeNames } from '../nodes/view';
import { EventStream, retryDelay, type Connection } from './stream';

/** Jobs that are read at first; more come page by page. */
export const JOB_PAGE_SIZE = 200;

/** Jobs under way are all read, whatever their age, so that their number is known. */
const ACTIVE_JOBS = 'JOB_STATE_QUEUED,JOB_STATE_ASSIGNED,JOB_STATE_RUNNING';

/** How long a hidden tab keeps its connection. A browser allows six an origin, over all tabs. */
const HIDDEN_GRACE_MS = 60_000;

/**
 * Live is the dashboard's view of one orchestrator: its API, the objects as they are now, and the
 * connection that keeps them so. A change of the address makes a new one.
 */
export class Live {
	readonly api: OrchionApi;
	cluster = $state.raw<Cluster>(emptyCluster);
	connection = $state.raw<Connection>({ state: 'connecting' });
	/** The lists were read at least once. */
	loaded = $state(false);
	/** Why the lists could not be read, while they could not. */
	loadError = $state<string>();
	/** The orchestrator's time, in milliseconds; moves every second. */
	now = $state(Date.now());
	/** This machine's time, likewise. */
	localNow = $state(Date.now());
	/** Counts readings of the lists; a view that pages starts again when it changes. */
	listing = $state(0);

	/** Why work of silent nodes is not given to others; undefined: it is. */
	pause = $state.raw<WholeCluster['pause']>();

	/** There were more jobs under way than one page takes, so their count is a lower bound. */
	moreActiveJobs = $state(false);

	private readonly names = $derived(nodeNames(this.cluster.nodes.values()));
	private readonly stream: EventStream;
	private readonly clock = new ServerClock();
	private readonly changes = new Changes();
	// eslint-disable-next-line svelte/prefer-svelte-reactivity -- nothing is drawn from it
	private readonly watchers = new Set<(events: OrchionEvent[]) => void>();
	/** For each reading of jobs the ids of those that events have told of since it began. */
	// eslint-disable-next-line svelte/prefer-svelte-reactivity -- nothing is drawn from it
	private readonly told = new Set<Set<string>>();
	private frame: number | undefined;
	private ticker: ReturnType<typeof setInterval> | undefined;
	private hiddenTimer: ReturnType<typeof setTimeout> | undefined;
	private reading: AbortController | undefined;
	private relist: ReturnType<typeof setTimeout> | undefined;
	/** How often in a row nobody answered when the lists were read. */
	private unanswered = 0;

	constructor(baseUrl: string) {
		this.api = new OrchionApi(baseUrl);
		this.stream = new EventStream({
			open: () => new EventSource(this.api.url('/api/events')),
			probe: () => this.api.version({ timeoutMs: 5000 }),
			onConnection: (connection) => (this.connection = connection),
			onOpen: () => {
				this.clock.reset();
				void this.list();
			},
			onReset: () => void this.list(),
			onEvent: (event) => this.receive(event)
		});
	}

	/** What people call a node; its id when it is not known. */
	nodeName(id: string | undefined): string {
		return this.names.get(id ?? '') ?? id ?? '';
	}

	start(): void {
		this.ticker = setInterval(() => {
			this.localNow = Date.now();
			this.now = this.clock.at(this.localNow);
		}, 1000);
		document.addEventListener('visibilitychange', this.visibilityChanged);
		window.addEventListener('online', this.reconnectIfWaiting);
		this.stream.connect();
	}

	/** Ends every timer and connection. May be called twice. */
	stop(): void {
		clearInterval(this.ticker);
		clearTimeout(this.hiddenTimer);
		clearTimeout(this.relist);
		document.removeEventListener('visibilitychange', this.visibilityChanged);
		window.removeEventListener('online', this.reconnectIfWaiting);
		if (this.frame !== undefined) cancelAnimationFrame(this.frame);
		this.frame = undefined;
		this.reading?.abort();
		this.stream.stop();
	}

	retryNow(): void {
		this.stream.connect();
	}

	/** Has a view told of events, once a frame; what it answers ends that. */
	watch(told: (events: OrchionEvent[]) => void): () => void {
		this.watchers.add(told);
		return () => this.watchers.delete(told);
	}

	private take(): OrchionEvent[] {
		const events = this.changes.take();
		for (const told of this.watchers) told(events);
		return events;
	}

	/**
	 * Reads jobs for a view and takes them in, but for those that events tell of meanwhile: what was
	 * asked for before an event may be older than it, and come later.
	 */
	async readJobs<T>(read: Promise<T>, jobsOf: (answer: T) => Job[]): Promise<T> {
		// eslint-disable-next-line svelte/prefer-svelte-reactivity -- nothing is drawn from it
		const told = new Set<string>();
		this.told.add(told);
		try {
			const answer = await read;
			const jobs = jobsOf(answer).filter((job) => !told.has(job.id ?? ''));
			this.cluster = mergeJobs(this.cluster, jobs);
			return answer;
		} finally {
			this.told.delete(told);
		}
	}

	/** Takes in an object that a call answered, ahead of its event. */
	apply(object: Pick<OrchionEvent, 'node' | 'job' | 'deployment'>): void {
		this.cluster = applyEvents(this.cluster, [
			{ ...object, type: 'EVENT_TYPE_UPDATED' } as OrchionEvent
		]);
	}

	/** Takes in that an object is gone. */
	remove(object: Pick<OrchionEvent, 'node' | 'job' | 'deployment'>): void {
		this.cluster = applyEvents(this.cluster, [
			{ ...object, type: 'EVENT_TYPE_REMOVED' } as OrchionEvent
		]);
	}

	/** Gives the work of silent nodes to others. */
	async resume(): Promise<void> {
		this.pause = (await this.api.resumeCluster()).pause;
	}

	private receive(event: OrchionEvent): void {
		this.clock.observe(event.time, Date.now());
		if (event.cluster) this.pause = event.cluster.pause;
		if (event.job?.id) for (const told of this.told) told.add(event.job.id);
		this.changes.add(event);
		this.flushSoon();
	}

	/** Draws at most once a frame, however many events arrive. */
	private flushSoon(): void {
		// While the lists are read events wait, or an older list would overwrite them.
		if (this.frame !== undefined || this.reading) return;
		this.frame = requestAnimationFrame(() => {
			this.frame = undefined;
			if (!this.reading) this.cluster = applyEvents(this.cluster, this.take());
		});
	}

	private async list(): Promise<void> {
		this.reading?.abort();
		clearTimeout(this.relist);
		const reading = new AbortController();
		this.reading = reading;
		const options = { signal: reading.signal };
		try {
			const [nodes, deployments, newest, active, whole] = await Promise.all([
				this.api.allNodes(options),
				this.api.allDeployments(options),
				this.api.listJobs({ pageSize: JOB_PAGE_SIZE }, options),
				this.api.listJobs({ state: ACTIVE_JOBS, pageSize: MAX_PAGE_SIZE }, options),
				this.api.getCluster(options)
			]);
			this.pause = whole.pause;
			const cluster = replaceAll(
				{ ...this.cluster, jobs: emptyCluster.jobs },
				{ nodes, deployments }
			);
			const jobs = [...(newest.jobs ?? []), ...(active.jobs ?? [])];
			this.cluster = applyEvents(mergeJobs(cluster, jobs), this.take());
			this.moreActiveJobs = Boolean(active.nextPageToken);
			this.loaded = true;
			this.loadError = undefined;
			this.unanswered = 0;
			this.listing++;
		} catch (error) {
			if (reading.signal.aborted || isAbort(error)) return;
			this.loadError = messageOf(error);
			if (error instanceof ApiError && (error.kind === 'network' || error.kind === 'timeout')) {
				this.listLater();
			}
		} finally {
			if (this.reading === reading) {
				this.reading = undefined;
				if (this.changes.size > 0) this.flushSoon();
			}
		}
	}

	/** The events come, but nobody has answered: that passes. A stream that opens again brings the lists itself. */
	private listLater(): void {
		this.relist = setTimeout(
			() => {
				if (this.connection.state === 'live') void this.list();
			},
			retryDelay(++this.unanswered, Math.random())
		);
	}

	/** Reads the lists again, for a person who asks. */
	reload(): void {
		if (this.connection.state === 'live') void this.list();
		else this.retryNow();
	}

	private readonly visibilityChanged = () => {
		clearTimeout(this.hiddenTimer);
		if (document.hidden) {
			this.hiddenTimer = setTimeout(() => this.stream.pause(), HIDDEN_GRACE_MS);
		} else if (this.connection.state === 'paused') {
			this.stream.connect();
		} else {
			this.reconnectIfWaiting();
		}
	};

	private readonly reconnectIfWaiting = () => {
		if (this.connection.state === 'waiting') this.stream.connect();
	};
}
