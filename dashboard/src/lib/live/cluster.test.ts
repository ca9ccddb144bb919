import type { Job, OrchionEvent } from '@orchion/api';
import { describe, expect, it } from 'vitest';
import { applyEvents, Changes, emptyCluster, MAX_JOBS, mergeJobs, replaceAll } from './cluster';

const updated = (object: object) => ({ type: 'EVENT_TYPE_UPDATED', ...object }) as OrchionEvent;
const removed = (object: object) => ({ type: 'EVENT_TYPE_REMOVED', ...object }) as OrchionEvent;

describe('applyEvents', () => {
	it('takes objects in, changes and removes them', () => {
		let cluster = applyEvents(emptyCluster, [
			updated({ node: { id: 'a', hostname: 'one' } }),
			updated({ job: { id: 'j' } }),
			updated({ deployment: { name: 'd' } })
		]);
		expect([
			...cluster.nodes.keys(),
			...cluster.jobs.keys(),
			...cluster.deployments.keys()
		]).toEqual(['a', 'j', 'd']);
		cluster = applyEvents(cluster, [
			updated({ node: { id: 'a', hostname: 'two' } }),
			removed({ job: { id: 'j' } }),
			removed({ job: { id: 'unknown' } })
		]);
		expect(cluster.nodes.get('a')?.hostname).toBe('two');
		expect(cluster.jobs.size).toBe(0);
	});

	it('shares what did not change, and changes nothing in place', () => {
		const before = applyEvents(emptyCluster, [
			updated({ node: { id: 'a' } }),
			updated({ node: { id: 'b' } })
		]);
		const after = applyEvents(before, [updated({ node: { id: 'b', hostname: 'new' } })]);
		expect(after.jobs).toBe(before.jobs);
		expect(after.nodes).not.toBe(before.nodes);
		expect(after.nodes.get('a')).toBe(before.nodes.get('a'));
		expect(before.nodes.get('b')?.hostname).toBeUndefined();
	});

	it('ignores what it does not know', () => {
		const events = [
			updated({}),
			updated({ node: {} }),
			{ type: 'EVENT_TYPE_LATER', node: { id: 'a' } } as unknown as OrchionEvent,
			updated({ log: { jobId: 'j' } })
		];
		expect(applyEvents(emptyCluster, events)).toEqual(emptyCluster);
	});

	it('forgets the oldest jobs that have ended, never those under way', () => {
		const job = (index: number, state: Job['state']): Job => ({
			id: `j${index}`,
			state,
			createdAt: new Date(index * 1000).toISOString()
		});
		const jobs = [
			job(0, 'JOB_STATE_RUNNING'),
			...Array.from({ length: MAX_JOBS + 600 }, (_, index) => job(index + 1, 'JOB_STATE_SUCCEEDED'))
		];
		const cluster = applyEvents(
			emptyCluster,
			jobs.map((one) => updated({ job: one }))
		);
		expect(cluster.jobs.size).toBe(MAX_JOBS);
		expect(cluster.jobs.has('j0')).toBe(true);
		expect(cluster.jobs.has('j1')).toBe(false);
		expect(cluster.jobs.has(`j${MAX_JOBS + 600}`)).toBe(true);
	});
});

it('replaceAll leaves nothing that is not in the lists', () => {
	const before = applyEvents(emptyCluster, [
		updated({ node: { id: 'gone' } }),
		updated({ deployment: { name: 'gone' } })
	]);
	const after = replaceAll(before, { nodes: [{ id: 'a' }, {}], deployments: [{ name: 'd' }] });
	expect([...after.nodes.keys()]).toEqual(['a']);
	expect([...after.deployments.keys()]).toEqual(['d']);
});

it('mergeJobs adds a page to what is there', () => {
	const first = mergeJobs(emptyCluster, [{ id: '1' }, { id: '2', name: 'old' }]);
	const second = mergeJobs(first, [{ id: '2', name: 'new' }, { id: '3' }]);
	expect([...second.jobs.keys()]).toEqual(['1', '2', '3']);
	expect(second.jobs.get('2')?.name).toBe('new');
});

it('Changes keeps the last of many events about one object', () => {
	const changes = new Changes();
	for (let index = 0; index < 1000; index++) {
		changes.add(updated({ node: { id: `n${index % 3}`, hostname: String(index) } }));
	}
	changes.add(removed({ node: { id: 'n0' } }));
	changes.add(updated({ log: { jobId: 'j' } }));
	expect(changes.size).toBe(3);
	const events = changes.take();
	expect(events.map((event) => [event.type, event.node?.id])).toEqual([
		['EVENT_TYPE_REMOVED', 'n0'],
		['EVENT_TYPE_UPDATED', 'n1'],
		['EVENT_TYPE_UPDATED', 'n2']
	]);
	expect(changes.size).toBe(0);
});
