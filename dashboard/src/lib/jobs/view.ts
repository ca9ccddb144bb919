import type { Job, JobState } from '@orchion/api';
import { parseTime } from '../format/time';
import { hasWords } from '../format/words';
import { matchesSelector, type Selector } from './selector';

/** What a job runs, in a few words: its image, the model it asks, or the node's program. */
export function jobSubject(job: Job): string {
	const { container, chat, process } = job.spec ?? {};
	return container?.image || chat?.model || process?.command || '';
}

/** The node of the newest attempt. */
export function jobNode(job: Job): string | undefined {
	return job.attempts?.at(-1)?.nodeId || undefined;
}

/** What the API filters jobs by. */
export interface JobQuery {
	/** None: every state. */
	states: readonly JobState[];
	nodeId: string;
	labels: Selector;
	/** Undefined: every queue. */
	queue?: string;
}

/** Whether a job passes what the API filters by. */
export function matchesQuery(job: Job, filter: JobQuery): boolean {
	if (filter.states.length > 0 && !filter.states.includes(job.state ?? 'JOB_STATE_UNSPECIFIED')) {
		return false;
	}
	if (filter.nodeId !== '' && jobNode(job) !== filter.nodeId) return false;
	if (filter.queue && (job.spec?.queue || 'default') !== filter.queue) return false;
	return matchesSelector(filter.labels, job.labels);
}

/** Whether a job has every word of a text in its names, subject, node or labels. */
export function matchesText(job: Job, text: string, nodeNames: (id: string) => string): boolean {
	if (text.trim() === '') return true;
	const node = jobNode(job);
	return hasWords(text, [
		job.id,
		job.name,
		jobSubject(job),
		node,
		node && nodeNames(node),
		job.spec?.queue,
		...(job.spec?.container?.models ?? job.spec?.process?.models ?? []),
		...Object.entries(job.labels ?? {}).map(([key, value]) => `${key}=${value}`)
	]);
}

/** Newest first, as the API lists them. */
export function newestFirst(a: Job, b: Job): number {
	return (
		(parseTime(b.createdAt) ?? 0) - (parseTime(a.createdAt) ?? 0) ||
		((a.id ?? '') < (b.id ?? '') ? 1 : -1)
	);
}

/**
 * How far back a filtered list was read: jobs older than the oldest of its last page are left out,
 * or the list would have gaps where nothing was read. Undefined: everything was read.
 */
export function withinRead(job: Job, oldestRead: number | undefined): boolean {
	return oldestRead === undefined || (parseTime(job.createdAt) ?? 0) >= oldestRead;
}
