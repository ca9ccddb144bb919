import type { Attempt, Job } from '@orchion/api';
import { expect, it } from 'vitest';
import { timelineOf } from './timeline';

const at = (seconds: number) => new Date(Date.UTC(2026, 2, 1) + seconds * 1000).toISOString();
const now = Date.parse(at(100));
const attempt = (
	number: number,
	[assigned, started, finished]: (number | undefined)[]
): Attempt => ({
	number,
	assignedAt: assigned === undefined ? undefined : at(assigned),
	startedAt: started === undefined ? undefined : at(started),
	finishedAt: finished === undefined ? undefined : at(finished)
});
const job = (change: Partial<Job>): Job => ({ id: 'j', createdAt: at(0), ...change });

it('puts attempts on one scale from the submission until the end, newest first', () => {
	const timeline = timelineOf(
		job({
			finishedAt: at(50),
			attempts: [attempt(1, [10, 15, 20]), attempt(2, [25, 30, 50])]
		}),
		now
	);
	expect([timeline.from, timeline.to].map((time) => new Date(time).toISOString())).toEqual([
		at(0),
		at(50)
	]);
	expect(timeline.rows.map(({ attempt }) => attempt.number)).toEqual([2, 1]);
	expect(timeline.rows[1]).toMatchObject({
		waited: 10_000,
		preparing: { left: 20, width: 10 },
		running: { left: 30, width: 10 }
	});
	expect(timeline.rows[0]).toMatchObject({
		waited: 5000,
		preparing: { left: 50, width: 10 },
		running: { left: 60, width: 40 }
	});
});

it('draws what goes on until now', () => {
	const { rows } = timelineOf(job({ attempts: [attempt(1, [50, 75, undefined])] }), now);
	expect(rows[0]).toMatchObject({
		preparing: { left: 50, width: 25 },
		running: { left: 75, width: 25 }
	});
	const [assigned] = timelineOf(job({ attempts: [attempt(1, [50])] }), now).rows;
	expect(assigned).toMatchObject({ preparing: { left: 50, width: 50 }, running: undefined });
});

it('takes an attempt that never ran, none at all, and clocks that disagree', () => {
	const lost = timelineOf(
		job({ finishedAt: at(20), attempts: [attempt(1, [10, undefined, 20])] }),
		now
	);
	expect(lost.rows[0]).toMatchObject({ preparing: { left: 50, width: 50 }, running: undefined });
	expect(timelineOf(job({}), now)).toEqual({ from: Date.parse(at(0)), to: now, rows: [] });
	const skewed = timelineOf(
		job({ finishedAt: at(10), attempts: [attempt(1, [-5, -10, -20])] }),
		now
	);
	for (const { preparing, running } of skewed.rows) {
		for (const part of [preparing, running]) {
			expect(part?.left).toBeGreaterThanOrEqual(0);
			expect(part?.width).toBeGreaterThanOrEqual(0);
		}
	}
	expect(timelineOf({}, now).rows).toEqual([]);
});
