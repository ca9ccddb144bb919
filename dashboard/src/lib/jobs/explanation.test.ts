import { expect, it } from 'vitest';
import { explanationBasis, formatPoints, sortFits } from './explanation';

it('sorts the best nodes first, then those that lack least', () => {
	const fits = [
		{ nodeId: 'c', hostname: 'c', fits: false, reasons: ['a', 'b'], score: 0 },
		{ nodeId: 'b', hostname: 'b', fits: false, reasons: ['a'], score: 0 },
		{ nodeId: 'x', hostname: 'x', fits: true, reasons: [], score: 0.2 },
		{ nodeId: 'y', hostname: 'y', fits: true, reasons: [], score: 0.9 },
		{ nodeId: 'a', hostname: '', fits: false, reasons: ['a'], score: 0 }
	];
	expect(sortFits(fits).map(({ nodeId }) => nodeId)).toEqual(['y', 'x', 'a', 'b', 'c']);
});

it('hangs on the job and on what nodes can take, not on their heartbeats', () => {
	const job = { state: 'JOB_STATE_QUEUED' as const, reason: 'no node fits' };
	const node = { id: 'n', lastHeartbeatAt: '1', usage: { cpuPercent: 1, runningJobs: 0 } };
	const basis = explanationBasis(job, [node]);
	const beat = { ...node, lastHeartbeatAt: '2', usage: { cpuPercent: 90, runningJobs: 0 } };
	expect(explanationBasis(job, [beat])).toBe(basis);
	for (const other of [
		explanationBasis({ ...job, reason: 'paused' }, [node]),
		explanationBasis(job, []),
		explanationBasis(job, [{ ...node, cordoned: true }]),
		explanationBasis(job, [{ ...node, usage: { runningJobs: 1 } }]),
		explanationBasis(job, [{ ...node, labels: { room: 'lab' } }])
	]) {
		expect(other).not.toBe(basis);
	}
});

it('shows points with their sign', () => {
	expect([87.54, 0, -10, undefined].map(formatPoints)).toEqual(['+87.5', '+0', '−10', '+0']);
});
