import type { JobSpec } from '@orchion/api';
import { fromBase64 } from '../format/base64';
import { toYaml, type Plain } from '../format/yaml';

type PullPolicy = NonNullable<NonNullable<JobSpec['container']>['pullPolicy']>;
type Placement = NonNullable<JobSpec['placement']>;

/** An input file as a person gives it. */
export interface FileRow {
	path: string;
	/** Octal; empty: 0644. */
	mode: string;
	text: string;
	/** A file of this machine, which is sent instead of the text. */
	chosen?: { name: string; bytes: Uint8Array };
}

/** A job or array to wait for. */
export interface AfterRow {
	/** Its id, or while it is typed its name. */
	job: string;
	on: NonNullable<NonNullable<JobSpec['after']>[number]['on']>;
}

/** The fields of the form, all but the rows as typed. */
export interface JobForm {
	kind: 'container' | 'process' | 'chat';
	name: string;
	image: string;
	/** Of a process: its name in nodes' policies, or its path. */
	program: string;
	command: string;
	args: string;
	env: string;
	models: string;
	pullPolicy: PullPolicy;
	credentials: string;
	workingDir: string;
	user: string;
	files: FileRow[];
	volumes: string;
	tmpfs: string;
	shm: string;
	artifacts: string;
	stopGrace: string;
	chatModel: string;
	system: string;
	prompt: string;
	maxTokens: string;
	cpu: string;
	memory: string;
	gpus: string;
	gpuMemory: string;
	disk: string;
	constraints: string;
	tolerations: string;
	placement: Placement;
	affinities: string;
	avoidJobs: string;
	labels: string;
	queue: string;
	priority: string;
	preemptible: boolean;
	count: string;
	after: AfterRow[];
	/** As a browser's field for a date and a time has it, in the time zone of this machine. */
	startAfter: string;
	maxAttempts: string;
	initialBackoff: string;
	maxBackoff: string;
	noRetryExitCodes: string;
	queueTimeout: string;
	startTimeout: string;
	timeout: string;
}

export const emptyJobForm: JobForm = {
	kind: 'container',
	name: '',
	image: '',
	program: '',
	command: '',
	args: '',
	env: '',
	models: '',
	pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT',
	credentials: '',
	workingDir: '',
	user: '',
	files: [],
	volumes: '',
	tmpfs: '',
	shm: '',
	artifacts: '',
	stopGrace: '',
	chatModel: '',
	system: '',
	prompt: '',
	maxTokens: '',
	cpu: '',
	memory: '',
	gpus: '',
	gpuMemory: '',
	disk: '',
	constraints: '',
	tolerations: '',
	placement: 'PLACEMENT_UNSPECIFIED',
	affinities: '',
	avoidJobs: '',
	labels: '',
	queue: '',
	priority: '',
	preemptible: false,
	count: '',
	after: [],
	startAfter: '',
	maxAttempts: '',
	initialBackoff: '',
	maxBackoff: '',
	noRetryExitCodes: '',
	queueTimeout: '',
	startTimeout: '',
	timeout: ''
};

/** The fields that are folded away at first. */
export const FOLDED: readonly (keyof JobForm)[] = [
	'command',
	'pullPolicy',
	'credentials',
	'workingDir',
	'user',
	'files',
	'volumes',
	'tmpfs',
	'shm',
	'artifacts',
	'stopGrace',
	'tolerations',
	'placement',
	'affinities',
	'avoidJobs',
	'count',
	'after',
	'startAfter',
	'initialBackoff',
	'maxBackoff',
	'noRetryExitCodes',
	'queueTimeout',
	'startTimeout',
	'timeout',
	'labels'
];

/** An id of a job or an array, as far as it can be told from a name. */
export const isJobId = (text: string) => /^(?:array-)?[0-9a-f-]{30,64}$/.test(text);

/** Which field of the form an error of the API is about, by the path it names. */
export function jobFormField(path: string | undefined): keyof JobForm | undefined {
	const fields: [prefix: string, field: keyof JobForm][] = [
		['spec.process.command', 'program'],
		['spec.container.image', 'image'],
		['spec.container.command', 'command'],
		['spec.container.args', 'args'],
		['spec.container.env', 'env'],
		['spec.container.models', 'models'],
		['spec.container.registryCredentials', 'credentials'],
		['spec.container.artifacts', 'artifacts'],
		['spec.container.pullPolicy', 'pullPolicy'],
		['spec.container.workingDir', 'workingDir'],
		['spec.container.user', 'user'],
		['spec.container.files', 'files'],
		['spec.container.volumes', 'volumes'],
		['spec.container.tmpfs', 'tmpfs'],
		['spec.container.shmBytes', 'shm'],
		['spec.container.stopGrace', 'stopGrace'],
		['spec.chat.model', 'chatModel'],
		['spec.chat.messages', 'prompt'],
		['spec.chat.maxTokens', 'maxTokens'],
		['spec.resources.cpuMillis', 'cpu'],
		['spec.resources.memoryBytes', 'memory'],
		['spec.resources.gpuMemoryBytes', 'gpuMemory'],
		['spec.resources.gpus', 'gpus'],
		['spec.resources.diskBytes', 'disk'],
		['spec.constraints', 'constraints'],
		['spec.tolerations', 'tolerations'],
		['spec.placement', 'placement'],
		['spec.affinities', 'affinities'],
		['spec.avoidJobs', 'avoidJobs'],
		['spec.preemptible', 'preemptible'],
		['spec.after', 'after'],
		['spec.startAfter', 'startAfter'],
		['spec.queueTimeout', 'queueTimeout'],
		['spec.queue', 'queue'],
		['spec.priority', 'priority'],
		['spec.retry.initialBackoff', 'initialBackoff'],
		['spec.retry.maxBackoff', 'maxBackoff'],
		['spec.retry.noRetryExitCodes', 'noRetryExitCodes'],
		['spec.retry', 'maxAttempts'],
		['spec.startTimeout', 'startTimeout'],
		['spec.timeout', 'timeout'],
		['count', 'count'],
		['labels', 'labels'],
		['name', 'name']
	];
	// What a process has beside its program is as in a container.
	const alike = path?.replace(/^spec\.process\.(?!command)/, 'spec.container.');
	return fields.find(([prefix]) => alike?.startsWith(prefix))?.[1];
}

/**
 * A request as a file for orchion job submit -f. There ${name} is a parameter, and $${ a plain ${;
 * what is text in an input file is written as text.
 */
export function jobFile(body: object): string {
	const plain = (value: unknown): Plain => {
		if (typeof value === 'string') return value.replace(/\$\{[^}]*\}/g, (found) => `$${found}`);
		if (Array.isArray(value)) return value.map(plain);
		if (typeof value === 'object' && value !== null) {
			return Object.fromEntries(
				Object.entries(value).map(([key, one]) => {
					const text = key === 'content' && 'path' in value ? textOf(String(one)) : undefined;
					return text === undefined ? [key, plain(one)] : ['text', plain(text)];
				})
			);
		}
		return value as Plain;
	};
	return toYaml(plain(body));
}

/** The text that base64 stands for; undefined when it is no text. */
function textOf(base64: string): string | undefined {
	try {
		return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(fromBase64(base64));
	} catch {
		return undefined;
	}
}

/** A key that makes sending a form twice submit one job. */
export function idempotencyKey(): string {
	// crypto.randomUUID is missing where the page came over plain http from another machine.
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return `dashboard-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
