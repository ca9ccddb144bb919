import type { Job } from '@orchion/api';
import { expect, it } from 'vitest';
import { matchesQuery, matchesText, newestFirst, withinRead } from './view';

const job = (change: Partial<Job>): Job => ({
	id: 'j',
	name: 'nightly',
	state: 'JOB_STATE_RUNNING',
	createdAt: '2026-03-01T12:00:00Z',
	...change
});

it('filters as the API does: by state, and by the node of the newest attempt', () => {
	const one = job({ attempts: [{ nodeId: 'old' }, { nodeId: 'new' }] });
	expect(matchesQuery(one, { states: [], nodeId: '', labels: [] })).toBe(true);
	expect(matchesQuery(one, { states: ['JOB_STATE_FAILED'], nodeId: '', labels: [] })).toBe(false);
	expect(matchesQuery(one, { states: ['JOB_STATE_RUNNING'], nodeId: 'new', labels: [] })).toBe(
		true
	);
	expect(matchesQuery(one, { states: [], nodeId: 'old', labels: [] })).toBe(false);
});

it('filters by labels', () => {
	const one = job({ labels: { team: 'ops' } });
	const matches = (value: string) =>
		matchesQuery(one, { states: [], nodeId: '', labels: [{ key: 'team', equal: true, value }] });
	expect(['ops', 'search'].map(matches)).toEqual([true, false]);
});

it('searches names, images, nodes by name, and labels', () => {
	const one = job({
		labels: { team: 'ops' },
		spec: { container: { image: 'alpine:3.22', models: ['qwen3'] } },
		attempts: [{ nodeId: 'n1' }]
	});
	const names = () => 'Atlas';
	for (const text of ['', 'NIGHT', 'alpine qwen3', 'atlas', 'team=ops']) {
		expect(matchesText(one, text, names), text).toBe(true);
	}
	expect(matchesText(one, 'nightly busybox', names)).toBe(false);
});

it('orders as the API does, and leaves out what was not read', () => {
	const a = job({ id: 'a', createdAt: '2026-03-01T12:00:02Z' });
	const b = job({ id: 'b' });
	const c = job({ id: 'c' });
	expect([b, a, c].sort(newestFirst).map(({ id }) => id)).toEqual(['a', 'c', 'b']);
	const read = Date.parse('2026-03-01T12:00:01Z');
	expect([a, b].map((one) => withinRead(one, read))).toEqual([true, false]);
	expect(withinRead(b, undefined)).toBe(true);
});
