import { expect, test } from 'vitest';
import { deploymentLine, jobLine, nodeLine, nodeLines, sizeText, stateText } from './text.ts';

test('states lose their prefix', () => {
	expect(stateText('JOB_STATE_RUNNING')).toBe('running');
	expect(stateText('REPLICA_STATE_READY')).toBe('ready');
	expect(stateText(undefined)).toBe('');
});

test('sizes are binary', () => {
	expect(sizeText('0')).toBe('0 B');
	expect(sizeText('16777216')).toBe('16.0 MiB');
	expect(sizeText(25_769_803_776)).toBe('24.0 GiB');
});

test('a node tells its hardware', () => {
	const line = nodeLine({
		id: 'attic',
		hostname: 'attic.lan',
		state: 'NODE_STATE_DRAINING',
		capabilities: {
			os: 'linux',
			arch: 'amd64',
			cpu: { logicalCores: 8 },
			memory: { totalBytes: '17179869184' },
			gpus: [{ model: 'RTX 3090', memoryBytes: '25769803776' }],
			runtimes: [{ name: 'podman', version: '5.0' }]
		},
		usage: { cpuPercent: 12.4, memoryUsedBytes: '1073741824', runningJobs: 1 }
	});
	expect(line.label).toBe('attic.lan');
	expect(line.description).toBe('draining · linux/amd64 · 1 job');
	expect(line.children.map((c) => `${c.label}: ${c.description}`)).toEqual([
		'CPU: 12 % of 8 cores',
		'Memory: 1.0 GiB of 16.0 GiB',
		'RTX 3090: 24.0 GiB',
		'podman: 5.0'
	]);
});

test('a job tells where it runs and its attempts', () => {
	const line = jobLine({
		id: 'j1',
		name: 'greet',
		state: 'JOB_STATE_RUNNING',
		attempts: [
			{ number: 1, nodeId: 'attic', state: 'ATTEMPT_STATE_LOST', reason: 'lease ran out' },
			{ number: 2, nodeId: 'cellar', state: 'ATTEMPT_STATE_RUNNING' }
		]
	});
	expect(line.description).toBe('running · cellar');
	expect(line.children.map((c) => c.description)).toEqual([
		'lost · attic · lease ran out',
		'running · cellar'
	]);
	expect(jobLine({ id: 'j2', state: 'JOB_STATE_UNSPECIFIED' }).icon).toBe('question');
});

test('a deployment counts its ready replicas', () => {
	const line = deploymentLine({
		name: 'tiny',
		state: 'DEPLOYMENT_STATE_DEGRADED',
		spec: { model: 'tiny', replicas: 2 },
		replicas: [
			{ id: 'r1', nodeId: 'attic', state: 'REPLICA_STATE_READY' },
			{ id: 'r2', state: 'REPLICA_STATE_PULLING', progressPercent: 41.6 }
		]
	});
	expect(line.description).toBe('degraded · 1/2 ready');
	const everywhere = { wantedReplicas: 3, spec: { everywhere: true } };
	expect(deploymentLine(everywhere).description).toContain('0/3 ready');
	expect(line.children.map((c) => `${c.label}: ${c.description}`)).toEqual([
		'attic: ready',
		'no node yet: pulling · 42 %'
	]);
});

test('nodes are told apart', () => {
	const lines = nodeLines([
		{ id: 'b', hostname: 'vm', state: 'NODE_STATE_ONLINE' },
		{ id: 'a', hostname: 'vm', state: 'NODE_STATE_ONLINE' },
		{ id: 'c', hostname: 'attic', state: 'NODE_STATE_ONLINE' }
	]);
	expect(lines.map((l) => `${l.label}: ${l.description}`)).toEqual([
		'attic: online',
		'vm: a · online',
		'vm: b · online'
	]);
});
