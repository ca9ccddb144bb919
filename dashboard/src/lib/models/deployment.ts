import type { Deployment, DeploymentSpec, Engine, Replica, operations } from '@orchion/api';
import { parseBytes, parseLines, parseWhole, splitWords } from '../format/input';
import { toNumber } from '../format/number';
import { FormReader, type FormErrors } from '../ui/reader';

type CreateBody =
	operations['Deployments_CreateDeployment']['requestBody']['content']['application/json'];

/** The fields of the form, all as typed. */
export interface DeploymentForm {
	model: string;
	engine: Exclude<Engine, 'ENGINE_UNSPECIFIED'>;
	replicas: string;
	name: string;
	image: string;
	args: string;
	constraints: string;
	memory: string;
	gpus: string;
}

export const emptyDeploymentForm: DeploymentForm = {
	model: '',
	engine: 'ENGINE_OLLAMA',
	replicas: '1',
	name: '',
	image: '',
	args: '',
	constraints: '',
	memory: '',
	gpus: ''
};

export const MAX_REPLICAS = 64;

/** The request that a form makes, or what is wrong with each field. */
export function buildDeployment(
	form: DeploymentForm
): { body: CreateBody } | { errors: FormErrors<DeploymentForm> } {
	const reader = new FormReader(form);
	reader.need('model', 'name the model, for example qwen3:0.6b');
	reader.like(
		'name',
		/^[a-z0-9][a-z0-9-]{0,62}$/,
		'use at most 63 of a-z, 0-9 and -, beginning with a letter or digit'
	);
	const name = reader.text('name');
	const spec: DeploymentSpec = {
		model: form.model.trim(),
		engine: form.engine,
		replicas: reader.read('replicas', (text) => parseWhole(text, 0, MAX_REPLICAS), undefined) ?? 1
	};
	if (form.image.trim()) spec.image = form.image.trim();
	const args = reader.read('args', splitWords, []);
	if (args.length > 0) spec.args = args;
	const constraints = parseLines(form.constraints);
	if (constraints.length > 0) spec.constraints = constraints;
	const memoryBytes = reader.read('memory', parseBytes, 0);
	const gpus = reader.read('gpus', (text) => parseWhole(text, 0, 64), undefined) ?? 0;
	if (memoryBytes > 0 || gpus > 0) spec.resources = { memoryBytes: String(memoryBytes), gpus };
	const body: CreateBody = name ? { name, spec } : { spec };
	return reader.result(body);
}

/** Which field of the form an error of the API is about, by the path it names. */
export function deploymentFormField(path: string | undefined): keyof DeploymentForm | undefined {
	const fields: [prefix: string, field: keyof DeploymentForm][] = [
		['spec.model', 'model'],
		['spec.engine', 'engine'],
		['spec.replicas', 'replicas'],
		['spec.image', 'image'],
		['spec.args', 'args'],
		['spec.constraints', 'constraints'],
		['spec.resources.memoryBytes', 'memory'],
		['spec.resources.gpus', 'gpus'],
		['name', 'name']
	];
	return fields.find(([prefix]) => path?.startsWith(prefix))?.[1];
}

/** Replicas that serve, and how many are wanted. */
export function replicaCounts(deployment: Deployment): { ready: number; wanted: number } {
	const replicas = deployment.replicas ?? [];
	return {
		ready: replicas.filter((replica) => replica.state === 'REPLICA_STATE_READY').length,
		wanted: deployment.wantedReplicas ?? deployment.spec?.replicas ?? 1
	};
}

/** Whether a replica's pull can be drawn as progress. */
export function isPulling(replica: Replica): boolean {
	return replica.state === 'REPLICA_STATE_PULLING';
}

/** How far a pull is, 0 to 100: what the engine says, or from the bytes. */
export function pullPercent(replica: Replica): number {
	if (replica.progressPercent) return replica.progressPercent;
	const total = toNumber(replica.totalBytes);
	return total > 0 ? (toNumber(replica.completedBytes) / total) * 100 : 0;
}
