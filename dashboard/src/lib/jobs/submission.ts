import type { JobSpec, operations } from '@orchion/api';
import {
	InputError,
	parseBytes,
	parseCores,
	parseDuration,
	parseLines,
	parsePairs,
	parseWhole,
	splitWords
} from '../format/input';

type SubmitBody = operations['Jobs_SubmitJob']['requestBody']['content']['application/json'];
type PullPolicy = NonNullable<NonNullable<JobSpec['container']>['pullPolicy']>;

/** The fields of the form, all as typed. */
export interface JobForm {
	kind: 'container' | 'chat';
	name: string;
	image: string;
	command: string;
	args: string;
	env: string;
	models: string;
	pullPolicy: PullPolicy;
	chatModel: string;
	system: string;
	prompt: string;
	maxTokens: string;
	cpu: string;
	memory: string;
	gpus: string;
	gpuMemory: string;
	constraints: string;
	labels: string;
	priority: string;
	maxAttempts: string;
	timeout: string;
}

export const emptyJobForm: JobForm = {
	kind: 'container',
	name: '',
	image: '',
	command: '',
	args: '',
	env: '',
	models: '',
	pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT',
	chatModel: '',
	system: '',
	prompt: '',
	maxTokens: '',
	cpu: '',
	memory: '',
	gpus: '',
	gpuMemory: '',
	constraints: '',
	labels: '',
	priority: '',
	maxAttempts: '',
	timeout: ''
};

export type FormErrors<F> = Partial<Record<keyof F, string>>;

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const LABEL_KEY = /^[A-Za-z0-9._/-]{1,63}$/;

/** The request that a form makes, or what is wrong with each field. */
export function buildJob(form: JobForm): { body: SubmitBody } | { errors: FormErrors<JobForm> } {
	const errors: FormErrors<JobForm> = {};
	const read = <T>(field: keyof JobForm, parse: (text: string) => T, otherwise: T): T => {
		try {
			return parse(form[field]);
		} catch (error) {
			if (!(error instanceof InputError)) throw error;
			errors[field] = error.message;
			return otherwise;
		}
	};
	const need = (field: keyof JobForm, message: string) => {
		if (form[field].trim() === '') errors[field] = message;
	};

	const spec: JobSpec = {};
	if (form.kind === 'container') {
		need('image', 'name the image to run, for example docker.io/library/alpine:3.22');
		spec.container = {
			image: form.image.trim(),
			command: read('command', splitWords, []),
			args: read('args', splitWords, []),
			env: read('env', (text) => parsePairs(text, ENV_NAME, 'a variable'), {}),
			models: form.models.split(/[\s,]+/).filter(Boolean),
			pullPolicy: form.pullPolicy
		};
	} else {
		need('chatModel', 'choose the model to ask');
		need('prompt', 'write what to ask the model');
		const messages = [{ role: 'user', content: form.prompt }];
		if (form.system.trim()) messages.unshift({ role: 'system', content: form.system });
		spec.chat = {
			model: form.chatModel.trim(),
			messages,
			maxTokens: read('maxTokens', (text) => parseWhole(text, 1, 1_000_000), undefined) ?? 0
		};
	}
	const resources = {
		cpuMillis: String(read('cpu', parseCores, 0)),
		memoryBytes: String(read('memory', parseBytes, 0)),
		gpus: read('gpus', (text) => parseWhole(text, 0, 64), undefined) ?? 0,
		gpuMemoryBytes: String(read('gpuMemory', parseBytes, 0))
	};
	if (Object.values(resources).some((amount) => Number(amount) > 0)) spec.resources = resources;
	const constraints = parseLines(form.constraints);
	if (constraints.length > 0) spec.constraints = constraints;
	const priority = read('priority', (text) => parseWhole(text, -1000, 1000), undefined);
	if (priority) spec.priority = priority;
	const maxAttempts = read('maxAttempts', (text) => parseWhole(text, 1, 100), undefined);
	if (maxAttempts) spec.retry = { maxAttempts };
	const timeout = read('timeout', parseDuration, undefined);
	if (timeout) spec.timeout = timeout;

	const body: SubmitBody = { spec };
	if (form.name.trim()) body.name = form.name.trim();
	const labels = read('labels', (text) => parsePairs(text, LABEL_KEY, 'a label'), {});
	if (Object.keys(labels).length > 0) body.labels = labels;
	return Object.keys(errors).length > 0 ? { errors } : { body };
}

/** Which field of the form an error of the API is about, by the path it names. */
export function jobFormField(path: string | undefined): keyof JobForm | undefined {
	const fields: [prefix: string, field: keyof JobForm][] = [
		['spec.container.image', 'image'],
		['spec.container.command', 'command'],
		['spec.container.args', 'args'],
		['spec.container.env', 'env'],
		['spec.container.models', 'models'],
		['spec.container.pullPolicy', 'pullPolicy'],
		['spec.chat.model', 'chatModel'],
		['spec.chat.messages', 'prompt'],
		['spec.chat.maxTokens', 'maxTokens'],
		['spec.resources.cpuMillis', 'cpu'],
		['spec.resources.memoryBytes', 'memory'],
		['spec.resources.gpuMemoryBytes', 'gpuMemory'],
		['spec.resources.gpus', 'gpus'],
		['spec.constraints', 'constraints'],
		['spec.priority', 'priority'],
		['spec.retry', 'maxAttempts'],
		['spec.timeout', 'timeout'],
		['labels', 'labels'],
		['name', 'name']
	];
	return fields.find(([prefix]) => path?.startsWith(prefix))?.[1];
}

/** A key that makes sending a form twice submit one job. */
export function idempotencyKey(): string {
	// crypto.randomUUID is missing where the page came over plain http from another machine.
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return `dashboard-${[...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
