import type { Attempt, Job } from '@orchion/api';
import { parseTime } from '../format/time';

/** A part of the whole time, in percent of it. */
export interface Stretch {
	left: number;
	width: number;
}

export interface TimelineRow {
	attempt: Attempt;
	/** How long the job waited for this attempt, in milliseconds. */
	waited: number;
	/** From its node being found until it ran or ended. */
	preparing: Stretch | undefined;
	running: Stretch | undefined;
}

/** The attempts of a job on one scale, from its submission until it ended, or until now. */
export interface Timeline {
	from: number;
	to: number;
	rows: TimelineRow[];
}

/** Newest attempt first. Clocks that disagree make short stretches, never negative ones. */
export function timelineOf(job: Job, now: number): Timeline {
	const attempts = job.attempts ?? [];
	const times = attempts.flatMap((one) =>
		[one.assignedAt, one.startedAt, one.finishedAt].flatMap((time) => parseTime(time) ?? [])
	);
	const from = Math.min(...times, parseTime(job.createdAt) ?? Infinity, now);
	const ended = parseTime(job.finishedAt);
	const to = Math.max(...times, ended ?? now, from);
	const whole = Math.max(1, to - from);
	const stretch = (begin: number, end: number): Stretch => ({
		left: ((begin - from) / whole) * 100,
		width: (Math.max(0, end - begin) / whole) * 100
	});

	let free = parseTime(job.createdAt) ?? from;
	const rows = attempts.map((attempt): TimelineRow => {
		const assigned = parseTime(attempt.assignedAt);
		const started = parseTime(attempt.startedAt);
		const finished = parseTime(attempt.finishedAt) ?? to;
		const waited = Math.max(0, (assigned ?? started ?? free) - free);
		free = finished;
		return {
			attempt,
			waited,
			preparing: assigned === undefined ? undefined : stretch(assigned, started ?? finished),
			running: started === undefined ? undefined : stretch(started, finished)
		};
	});
	return { from, to, rows: rows.reverse() };
}
