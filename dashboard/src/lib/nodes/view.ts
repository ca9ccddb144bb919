import type { Node, NodeState } from '@orchion/api';
import { percentOf, toNumber } from '../format/number';
import { hasWords } from '../format/words';

export type NodeSort = 'name' | 'state' | 'cpu' | 'memory' | 'jobs';

const STATE_ORDER: Partial<Record<NodeState, number>> = {
	NODE_STATE_ONLINE: 0,
	NODE_STATE_DRAINING: 1,
	NODE_STATE_OFFLINE: 2
};

/** What people call a node: its hostname, or its id when it told none. */
export function nodeName(node: Node): string {
	return node.hostname || node.id || '';
}

/** What people call each node, by id: where several share a hostname, with the id beside it. */
export function nodeNames(nodes: Iterable<Node>): Map<string, string> {
	const all = [...nodes];
	const times = new Map<string, number>();
	for (const node of all) times.set(nodeName(node), (times.get(nodeName(node)) ?? 0) + 1);
	return new Map(
		all.map((node) => {
			const name = nodeName(node);
			const shared = (times.get(name) ?? 0) > 1 && name !== node.id;
			return [node.id ?? '', shared ? `${name} · ${node.id}` : name];
		})
	);
}

export function memoryPercent(node: Node): number | undefined {
	const total = toNumber(node.capabilities?.memory?.totalBytes);
	return total > 0 && node.usage ? percentOf(node.usage.memoryUsedBytes, total) : undefined;
}

export function diskPercent(node: Node): number | undefined {
	const total = toNumber(node.capabilities?.disk?.totalBytes);
	return total > 0 && node.usage ? percentOf(node.usage.diskUsedBytes, total) : undefined;
}

export interface GpuLoad {
	model: string;
	vendor: string;
	driverVersion: string;
	uuid: string;
	memoryBytes: number;
	memoryUsedBytes: number;
	/** Undefined when the node has not told. */
	utilizationPercent: number | undefined;
}

/** Each GPU with its usage, which the node reports apart. */
export function gpuLoads(node: Node): GpuLoad[] {
	return (node.capabilities?.gpus ?? []).map((gpu) => {
		const usage = node.usage?.gpus?.find((one) => one.uuid === gpu.uuid);
		return {
			model: gpu.model ?? '',
			vendor: gpu.vendor ?? '',
			driverVersion: gpu.driverVersion ?? '',
			uuid: gpu.uuid ?? '',
			memoryBytes: toNumber(gpu.memoryBytes),
			memoryUsedBytes: toNumber(usage?.memoryUsedBytes),
			utilizationPercent: usage && (usage.utilizationPercent ?? 0)
		};
	});
}

/** The load of a node's GPUs together; undefined without one that reports. */
export function gpuPercent(node: Node): number | undefined {
	const known = gpuLoads(node).flatMap((gpu) => gpu.utilizationPercent ?? []);
	return known.length > 0 ? known.reduce((sum, one) => sum + one, 0) / known.length : undefined;
}

/** The usage of a node that is gone is of the past: it is not shown as if it were of now. */
export function isActive(node: Node): boolean {
	return node.state === 'NODE_STATE_ONLINE' || node.state === 'NODE_STATE_DRAINING';
}

/** Whether a node matches every word of a filter, in its names, hardware, software or labels. */
export function matchesNode(node: Node, filter: string): boolean {
	if (filter.trim() === '') return true;
	const c = node.capabilities;
	return hasWords(filter, [
		node.id,
		node.hostname,
		node.address,
		node.state?.replace('NODE_STATE_', ''),
		c?.os,
		c?.arch,
		c?.platform,
		c?.cpu?.model,
		...(c?.gpus ?? []).map((gpu) => `${gpu.vendor} ${gpu.model}`),
		...(c?.runtimes ?? []).map((runtime) => runtime.name),
		...(c?.engines ?? []).map((engine) => `${engine.name} ${engine.models?.join(' ') ?? ''}`),
		...Object.entries(node.labels ?? {}).map(([key, value]) => `${key}=${value}`)
	]);
}

/** Nodes in order; numbers fall, names rise, and equal ones are ordered by name. */
export function sortNodes(nodes: Node[], by: NodeSort): Node[] {
	const names = new Intl.Collator('en', { numeric: true });
	const byName = (a: Node, b: Node) =>
		names.compare(nodeName(a), nodeName(b)) || names.compare(a.id ?? '', b.id ?? '');
	const rank = {
		name: () => 0,
		state: (node: Node) => STATE_ORDER[node.state ?? 'NODE_STATE_UNSPECIFIED'] ?? 3,
		cpu: (node: Node) => (isActive(node) ? -(node.usage?.cpuPercent ?? 0) : 1),
		memory: (node: Node) => (isActive(node) ? -(memoryPercent(node) ?? 0) : 1),
		jobs: (node: Node) => (isActive(node) ? -(node.usage?.runningJobs ?? 0) : 1)
	}[by];
	return nodes
		.map((node) => ({ node, rank: rank(node) }))
		.sort((a, b) => a.rank - b.rank || byName(a.node, b.node))
		.map(({ node }) => node);
}
