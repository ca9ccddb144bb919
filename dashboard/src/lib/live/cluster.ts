import type { Deployment, Job, Node, OrchionEvent } from '@orchion/api';
import { isEnded } from '../jobs/state';

/**
 * What the dashboard knows of the cluster: each object once, by its key. Values are never changed
 * in place, and neither are the maps: a new state shares with the old what did not change, so that
 * a view can tell by identity what to draw again.
 */
export interface Cluster {
	nodes: ReadonlyMap<string, Node>;
	jobs: ReadonlyMap<string, Job>;
	deployments: ReadonlyMap<string, Deployment>;
}

export const emptyCluster: Cluster = {
	nodes: new Map(),
	jobs: new Map(),
	deployments: new Map()
};

/** Jobs that are kept; beyond it the oldest that have ended are forgotten. */
export const MAX_JOBS = 5000;

/** Forgetting costs a sort, so it waits until this many are too many. */
const JOB_SLACK = 500;

/**
 * Changes collects events until the next frame. Of several about one object only the last counts,
 * so what waits is bounded by the number of objects, however long a hidden tab gets no frame.
 */
export class Changes {
	private readonly latest = new Map<string, OrchionEvent>();

	add(event: OrchionEvent): void {
		const key = keyOf(event);
		if (key === undefined) return;
		this.latest.set(key, event);
	}

	get size(): number {
		return this.latest.size;
	}

	/** Answers what has been collected and starts anew. */
	take(): OrchionEvent[] {
		const events = [...this.latest.values()];
		this.latest.clear();
		return events;
	}
}

function keyOf(event: OrchionEvent): string | undefined {
	if (event.node?.id) return `node/${event.node.id}`;
	if (event.job?.id) return `job/${event.job.id}`;
	if (event.deployment?.name) return `deployment/${event.deployment.name}`;
	if (event.queue?.name) return `queue/${event.queue.name}`;
	if (event.schedule?.name) return `schedule/${event.schedule.name}`;
	return undefined;
}

/** The cluster after some events; those that are not about an object change nothing. */
export function applyEvents(cluster: Cluster, events: Iterable<OrchionEvent>): Cluster {
	const nodes = new Draft(cluster.nodes);
	const jobs = new Draft(cluster.jobs);
	const deployments = new Draft(cluster.deployments);
	for (const event of events) {
		const removed = event.type === 'EVENT_TYPE_REMOVED';
		if (!removed && event.type !== 'EVENT_TYPE_UPDATED') continue;
		if (event.node?.id) nodes.put(event.node.id, removed ? undefined : event.node);
		else if (event.job?.id) jobs.put(event.job.id, removed ? undefined : event.job);
		else if (event.deployment?.name) {
			deployments.put(event.deployment.name, removed ? undefined : event.deployment);
		}
	}
	return {
		nodes: nodes.result(),
		jobs: forgetOldJobs(jobs.result()),
		deployments: deployments.result()
	};
}

/** The cluster with the nodes and deployments of a full list, which leaves no other. */
export function replaceAll(
	cluster: Cluster,
	full: { nodes: Node[]; deployments: Deployment[] }
): Cluster {
	return {
		...cluster,
		nodes: byKey(full.nodes, (node) => node.id),
		deployments: byKey(full.deployments, (deployment) => deployment.name)
	};
}

/** The cluster with some jobs that were read: a page, or one. */
export function mergeJobs(cluster: Cluster, read: Iterable<Job>): Cluster {
	const jobs = new Draft(cluster.jobs);
	for (const job of read) if (job.id) jobs.put(job.id, job);
	return { ...cluster, jobs: jobs.result() };
}

/** Copies a map at its first change only. */
class Draft<T> {
	private copy: Map<string, T> | undefined;

	constructor(private readonly base: ReadonlyMap<string, T>) {}

	put(key: string, value: T | undefined): void {
		if (value === undefined && !(this.copy ?? this.base).has(key)) return;
		this.copy ??= new Map(this.base);
		if (value === undefined) this.copy.delete(key);
		else this.copy.set(key, value);
	}

	result(): ReadonlyMap<string, T> {
		return this.copy ?? this.base;
	}
}

function byKey<T>(items: T[], key: (item: T) => string | undefined): ReadonlyMap<string, T> {
	const map = new Map<string, T>();
	for (const item of items) {
		const id = key(item);
		if (id) map.set(id, item);
	}
	return map;
}

function forgetOldJobs(jobs: ReadonlyMap<string, Job>): ReadonlyMap<string, Job> {
	if (jobs.size <= MAX_JOBS + JOB_SLACK) return jobs;
	const ended = [...jobs.values()]
		.filter((job) => isEnded(job.state))
		.sort((a, b) => compareTime(a.createdAt, b.createdAt));
	const kept = new Map(jobs);
	for (const job of ended) {
		if (kept.size <= MAX_JOBS) break;
		kept.delete(job.id ?? '');
	}
	return kept;
}

function compareTime(a: string | undefined, b: string | undefined): number {
	return Date.parse(a ?? '') - Date.parse(b ?? '') || 0;
}
