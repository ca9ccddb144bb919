import type { Deployment, Job, Node, Replica } from '@orchion/api';

/** A line of a tree, without anything of VS Code's in it. */
export interface Line {
	id: string;
	label: string;
	description: string;
	/** A codicon's name. */
	icon: string;
	/** A theme colour's id. */
	color?: string;
	/** Where the dashboard shows it. */
	path?: string;
	children: Line[];
}

const green = 'testing.iconPassed';
const red = 'testing.iconFailed';
const yellow = 'testing.iconQueued';

/** Makes JOB_STATE_RUNNING into running. */
export function stateText(state: string | undefined): string {
	return (state ?? '').replace(/^[A-Z]+_STATE_/, '').toLowerCase();
}

/** A size in binary units, such as "15.6 GiB". */
export function sizeText(bytes: string | number | undefined): string {
	let value = Number(bytes ?? 0);
	const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
	let unit = 0;
	while (value >= 1024 && unit < units.length - 1) {
		value /= 1024;
		unit++;
	}
	return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

function detail(id: string, label: string, description: string, icon: string): Line {
	return { id, label, description, icon, children: [] };
}

/** The lines of nodes, by name. Those that share a hostname also show their ids. */
export function nodeLines(nodes: Iterable<Node>): Line[] {
	const sorted = [...nodes].sort((a, b) =>
		`${a.hostname} ${a.id}`.localeCompare(`${b.hostname} ${b.id}`, undefined, { numeric: true })
	);
	const times = new Map<string, number>();
	for (const { hostname = '' } of sorted) {
		times.set(hostname, (times.get(hostname) ?? 0) + 1);
	}
	return sorted.map((node) => {
		const line = nodeLine(node);
		if ((times.get(node.hostname ?? '') ?? 0) > 1) {
			line.description = `${node.id} · ${line.description}`;
		}
		return line;
	});
}

export function nodeLine(node: Node): Line {
	const { capabilities, usage } = node;
	const id = `node/${node.id}`;
	const children = [
		detail(
			`${id}/cpu`,
			'CPU',
			`${Math.round(usage?.cpuPercent ?? 0)} % of ${capabilities?.cpu?.logicalCores ?? 0} cores`,
			'circuit-board'
		),
		detail(
			`${id}/memory`,
			'Memory',
			`${sizeText(usage?.memoryUsedBytes)} of ${sizeText(capabilities?.memory?.totalBytes)}`,
			'server'
		),
		...(capabilities?.gpus ?? []).map((gpu, i) =>
			detail(`${id}/gpu${i}`, gpu.model ?? 'GPU', sizeText(gpu.memoryBytes), 'chip')
		),
		...(capabilities?.runtimes ?? []).map((runtime, i) =>
			detail(`${id}/runtime${i}`, runtime.name ?? '', runtime.version ?? '', 'package')
		),
		...(capabilities?.engines ?? []).map((engine, i) =>
			detail(`${id}/engine${i}`, engine.name ?? '', (engine.models ?? []).join(', '), 'sparkle')
		)
	];
	const draining = node.state === 'NODE_STATE_DRAINING';
	const running = usage?.runningJobs ?? 0;
	return {
		id,
		label: node.hostname || node.id || '',
		description: [
			stateText(node.state),
			capabilities?.os && `${capabilities.os}/${capabilities.arch}`,
			running > 0 && `${running} ${running === 1 ? 'job' : 'jobs'}`
		]
			.filter(Boolean)
			.join(' · '),
		icon: 'vm',
		color: draining ? yellow : green,
		path: `/nodes/${encodeURIComponent(node.id ?? '')}`,
		children
	};
}

const jobIcons: Record<string, [icon: string, color?: string]> = {
	JOB_STATE_QUEUED: ['clock', yellow],
	JOB_STATE_ASSIGNED: ['arrow-right', yellow],
	JOB_STATE_RUNNING: ['sync'],
	JOB_STATE_SUCCEEDED: ['pass', green],
	JOB_STATE_FAILED: ['error', red],
	JOB_STATE_CANCELLED: ['circle-slash']
};

export function jobLine(job: Job): Line {
	const id = `job/${job.id}`;
	const [icon, color] = jobIcons[job.state ?? ''] ?? ['question'];
	const attempt = job.attempts?.at(-1);
	return {
		id,
		label: job.name || job.id || '',
		description: [stateText(job.state), attempt?.nodeId, job.reason].filter(Boolean).join(' · '),
		icon,
		color,
		path: `/jobs/${encodeURIComponent(job.id ?? '')}`,
		children: (job.attempts ?? []).map((a) =>
			detail(
				`${id}/${a.number}`,
				`Attempt ${a.number}`,
				[stateText(a.state), a.nodeId, a.reason].filter(Boolean).join(' · '),
				'history'
			)
		)
	};
}

const deploymentColors: Record<string, string> = {
	DEPLOYMENT_STATE_READY: green,
	DEPLOYMENT_STATE_FAILED: red,
	DEPLOYMENT_STATE_DEGRADED: yellow,
	DEPLOYMENT_STATE_PENDING: yellow
};

/** The name of the deployment that a line shows. */
export function deploymentOf(line: Line): string {
	return line.id.slice(line.id.indexOf('/') + 1);
}

export function deploymentLine(deployment: Deployment): Line {
	const id = `model/${deployment.name}`;
	const replicas = deployment.replicas ?? [];
	const ready = replicas.filter((r) => r.state === 'REPLICA_STATE_READY').length;
	return {
		id,
		label: deployment.spec?.model || deployment.name || '',
		description: `${stateText(deployment.state)} · ${ready}/${deployment.wantedReplicas ?? deployment.spec?.replicas ?? 0} ready`,
		icon: 'sparkle',
		color: deploymentColors[deployment.state ?? ''],
		path: `/models`,
		children: replicas.map((replica) => replicaLine(id, replica))
	};
}

function replicaLine(parent: string, replica: Replica): Line {
	const pulling = replica.state === 'REPLICA_STATE_PULLING';
	return detail(
		`${parent}/${replica.id}`,
		replica.nodeId || 'no node yet',
		[
			stateText(replica.state),
			pulling && `${Math.round(replica.progressPercent ?? 0)} %`,
			replica.reason
		]
			.filter(Boolean)
			.join(' · '),
		'layers'
	);
}
