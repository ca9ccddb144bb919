import type { Node } from '@orchion/api';
import { percentOf, toNumber } from '../format/number';
import { gpuLoads, isActive } from './view';

/** What all active nodes are and have together. */
export interface FleetTotals {
	active: number;
	draining: number;
	offline: number;
	cores: number;
	/** Of all cores, weighed by how many a node has. */
	cpuPercent: number;
	memoryBytes: number;
	memoryUsedBytes: number;
	memoryPercent: number;
	gpus: number;
	/** Undefined when no GPU reports its load. */
	gpuPercent: number | undefined;
}

export function fleetTotals(nodes: Iterable<Node>): FleetTotals {
	const sum = { active: 0, draining: 0, offline: 0, cores: 0, busy: 0, memory: 0, used: 0 };
	let gpus = 0;
	const gpuUtilizations: number[] = [];
	for (const node of nodes) {
		if (!isActive(node)) {
			sum.offline++;
			continue;
		}
		sum.active++;
		if (node.state === 'NODE_STATE_DRAINING') sum.draining++;
		const cores = node.capabilities?.cpu?.logicalCores ?? 0;
		sum.cores += cores;
		sum.busy += (cores * (node.usage?.cpuPercent ?? 0)) / 100;
		sum.memory += toNumber(node.capabilities?.memory?.totalBytes);
		sum.used += toNumber(node.usage?.memoryUsedBytes);
		for (const gpu of gpuLoads(node)) {
			gpus++;
			if (gpu.utilizationPercent !== undefined) gpuUtilizations.push(gpu.utilizationPercent);
		}
	}
	return {
		active: sum.active,
		draining: sum.draining,
		offline: sum.offline,
		cores: sum.cores,
		cpuPercent: percentOf(sum.busy, sum.cores),
		memoryBytes: sum.memory,
		memoryUsedBytes: sum.used,
		memoryPercent: percentOf(sum.used, sum.memory),
		gpus,
		gpuPercent:
			gpuUtilizations.length > 0
				? gpuUtilizations.reduce((total, one) => total + one, 0) / gpuUtilizations.length
				: undefined
	};
}
