import type { Node } from '@orchion/api';
import { expect, it } from 'vitest';
import { fleetTotals } from './totals';
import { gpuLoads, matchesNode, nodeNames, sortNodes } from './view';

const node = (id: string, change: Partial<Node> = {}): Node => ({
	id,
	hostname: id,
	state: 'NODE_STATE_ONLINE',
	...change
});

it('totals weigh load by cores and leave out nodes that are gone', () => {
	const usage = (cpuPercent: number) => ({ cpuPercent, memoryUsedBytes: '50' });
	const capabilities = (logicalCores: number) => ({
		cpu: { logicalCores },
		memory: { totalBytes: '100' }
	});
	expect(
		fleetTotals([
			node('a', { capabilities: capabilities(30), usage: usage(100) }),
			node('b', { capabilities: capabilities(10), usage: usage(20), state: 'NODE_STATE_DRAINING' }),
			node('c', { capabilities: capabilities(64), usage: usage(90), state: 'NODE_STATE_OFFLINE' })
		])
	).toMatchObject({
		active: 2,
		draining: 1,
		offline: 1,
		cores: 40,
		cpuPercent: 80,
		memoryPercent: 50,
		gpus: 0,
		gpuPercent: undefined
	});
	expect(fleetTotals([])).toMatchObject({ active: 0, cpuPercent: 0, memoryPercent: 0 });
});

it('pairs GPUs with their usage by uuid', () => {
	const [first, second] = gpuLoads(
		node('a', {
			capabilities: { gpus: [{ uuid: 'x', memoryBytes: '10' }, { uuid: 'y' }] },
			usage: { gpus: [{ uuid: 'x', memoryUsedBytes: '4' }] }
		})
	);
	expect(first).toMatchObject({ memoryBytes: 10, memoryUsedBytes: 4, utilizationPercent: 0 });
	expect(second?.utilizationPercent).toBeUndefined();
});

it('matches every word, in any order and case', () => {
	const one = node('n1', {
		hostname: 'Atlas',
		labels: { room: 'lab' },
		capabilities: { gpus: [{ vendor: 'nvidia', model: 'RTX A6000' }] }
	});
	for (const filter of ['', 'atlas', 'LAB a6000', 'room=lab', 'online nvidia']) {
		expect(matchesNode(one, filter), filter).toBe(true);
	}
	for (const filter of ['atlas borealis', 'room=office'])
		expect(matchesNode(one, filter)).toBe(false);
});

it('sorts names with numbers as people do, and loads with those gone last', () => {
	const nodes = [
		node('n10', { usage: { cpuPercent: 5 } }),
		node('n2', { usage: { cpuPercent: 50 } }),
		node('n1', { usage: { cpuPercent: 99 }, state: 'NODE_STATE_OFFLINE' })
	];
	expect(sortNodes(nodes, 'name').map(({ id }) => id)).toEqual(['n1', 'n2', 'n10']);
	expect(sortNodes(nodes, 'cpu').map(({ id }) => id)).toEqual(['n2', 'n10', 'n1']);
	expect(sortNodes(nodes, 'state').map(({ id }) => id)).toEqual(['n2', 'n10', 'n1']);
});

it('nodes that share a hostname are told apart by their ids', () => {
	const names = nodeNames([
		node('a', { hostname: 'vm' }),
		node('b', { hostname: 'vm' }),
		node('c', { hostname: 'attic' }),
		node('d', { hostname: '' })
	]);
	expect([...names]).toEqual([
		['a', 'vm · a'],
		['b', 'vm · b'],
		['c', 'attic'],
		['d', 'd']
	]);
});
