import type { ExplainJobResponse, Job, Node } from '@orchion/api';

type NodeFit = NonNullable<ExplainJobResponse['nodes']>[number];

/** Nodes that fit first, the best of them first; then those with the fewest reasons against them. */
export function sortFits(fits: readonly NodeFit[]): NodeFit[] {
	return [...fits].sort(
		(a, b) =>
			Number(b.fits ?? false) - Number(a.fits ?? false) ||
			(b.score ?? 0) - (a.score ?? 0) ||
			(a.reasons?.length ?? 0) - (b.reasons?.length ?? 0) ||
			((a.hostname || a.nodeId || '') < (b.hostname || b.nodeId || '') ? -1 : 1)
	);
}

/** Points with their sign, since they are added up: "+87.5", "−10". */
export function formatPoints(points: number | undefined): string {
	const rounded = Math.round((points ?? 0) * 10) / 10;
	return rounded < 0 ? `−${-rounded}` : `+${rounded}`;
}

/**
 * What an explanation hangs on, as a text that changes with it: the job's own state and which nodes
 * there are, whether they take work and how much they hold. Their heartbeats change nothing.
 */
export function explanationBasis(job: Job | undefined, nodes: Iterable<Node>): string {
	const parts = [`${job?.state} ${job?.reason}`];
	for (const node of nodes) {
		parts.push(
			[
				node.id,
				node.state,
				node.registeredAt,
				node.cordoned,
				node.drain?.since,
				node.usage?.runningJobs,
				JSON.stringify(node.labels)
			].join(' ')
		);
	}
	return parts.join('\n');
}
