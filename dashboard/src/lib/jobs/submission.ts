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
import { formatBytes, plural } from '../format/number';
import { formatSpan } from '../format/time';
import { toYaml, type Plain } from '../format/yaml';

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
	disk: string;
	constraints: string;
	labels: string;
	queue: string;
	priority: string;
	maxAttempts: string;
	initialBackoff: string;
	maxBackoff: string;
	queueTimeout: string;
	startTimeout: string;
	timeout: string;
	workingDir: string;
	user: string;
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
	disk: '',
	constraints: '',
	labels: '',
	queue: '',
	priority: '',
	maxAttempts: '',
	initialBackoff: '',
	maxBackoff: '',
	queueTimeout: '',
	startTimeout: '',
	timeout: '',
	workingDir: '',
	user: ''
};

export type FormErrors<F> = Partial<Record<keyof F, string>>;

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
const LABEL_KEY = /^[A-Za-z0-9._/-]{1,63}$/;
const QUEUE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/;

/** What the orchestrator takes (docs/jobs.md): what is beyond it is said before anything is sent. */
const LIMITS = {
	name: 128,
	image: 512,
	words: 1024,
	wordBytes: 256 * 1024,
	env: 256,
	envName: 255,
	envBytes: 256 * 1024,
	models: 32,
	modelName: 256,
	messageBytes: 1024 * 1024,
	chatTokens: 1024 * 1024,
	constraints: 32,
	constraint: 512,
	labels: 64,
	labelValue: 253,
	cores: 10_000,
	leastMemory: 6 * 1024 ** 2,
	mostBytes: 2 ** 50,
	gpus: 64,
	attempts: 100,
	path: 4096
};
const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const bytesOf = (text: string) => new TextEncoder().encode(text).length;

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

	/** A text that may hold so many bytes at most. */
	const short = (field: keyof JobForm, most: number) => {
		if (bytesOf(form[field].trim()) > most) errors[field] = `use at most ${plural(most, 'byte')}`;
	};
	const wordsOf = (field: 'command' | 'args') =>
		read(
			field,
			(text) => {
				const list = splitWords(text);
				atMost(list.length, LIMITS.words, 'word');
				atMost(bytesOf(list.join('')), LIMITS.wordBytes, 'byte');
				return list;
			},
			[]
		);
	const bytes = (field: 'memory' | 'gpuMemory' | 'disk', least: number) =>
		read(
			field,
			(text) => {
				const size = parseBytes(text);
				if (size > LIMITS.mostBytes) throw new InputError('use at most 1024TiB');
				if (size > 0 && size < least) throw new InputError(`use at least ${formatBytes(least)}`);
				return size;
			},
			0
		);
	const time = (field: keyof JobForm, least: number, most: number) =>
		read(field, (text) => parseDurationWithin(text, least, most), undefined);

	const spec: JobSpec = {};
	short('name', LIMITS.name);
	if (form.kind === 'container') {
		need('image', 'name the image to run, for example docker.io/library/alpine:3.22');
		short('image', LIMITS.image);
		spec.container = {
			image: form.image.trim(),
			command: wordsOf('command'),
			args: wordsOf('args'),
			env: read('env', parseEnv, {}),
			models: read('models', parseModels, []),
			pullPolicy: form.pullPolicy
		};
		const workingDir = form.workingDir.trim();
		short('workingDir', LIMITS.path);
		if (workingDir && !isCleanPath(workingDir)) {
			errors.workingDir = 'use an absolute path such as /work, without . and ..';
		}
		if (workingDir) spec.container.workingDir = workingDir;
		const user = form.user.trim();
		if (user && !USER.test(user)) errors.user = 'use USER or USER:GROUP, such as 1000:1000';
		if (user) spec.container.user = user;
	} else {
		need('chatModel', 'choose the model to ask');
		short('chatModel', LIMITS.modelName);
		if (/\s/.test(form.chatModel.trim())) errors.chatModel = 'a model has no spaces in its name';
		need('prompt', 'write what to ask the model');
		if (bytesOf(form.prompt) + bytesOf(form.system) > LIMITS.messageBytes) {
			errors.prompt = 'use at most 1 MiB together with the instructions';
		}
		const messages = [{ role: 'user', content: form.prompt }];
		if (form.system.trim()) messages.unshift({ role: 'system', content: form.system });
		spec.chat = {
			model: form.chatModel.trim(),
			messages,
			maxTokens: read('maxTokens', (text) => parseWhole(text, 1, LIMITS.chatTokens), undefined) ?? 0
		};
	}
	const resources: NonNullable<JobSpec['resources']> = {
		cpuMillis: String(
			read(
				'cpu',
				(text) => {
					const millis = parseCores(text);
					if (millis > LIMITS.cores * 1000) {
						throw new InputError(`use at most ${plural(LIMITS.cores, 'core')}`);
					}
					return millis;
				},
				0
			)
		),
		memoryBytes: String(bytes('memory', LIMITS.leastMemory)),
		gpus: read('gpus', (text) => parseWhole(text, 0, LIMITS.gpus), undefined) ?? 0,
		gpuMemoryBytes: String(bytes('gpuMemory', 0))
	};
	const disk = bytes('disk', 0);
	if (disk > 0) resources.diskBytes = String(disk);
	if (Object.values(resources).some((amount) => Number(amount) > 0)) spec.resources = resources;
	const constraints = read('constraints', parseConstraints, []);
	if (constraints.length > 0) spec.constraints = constraints;
	const queue = form.queue.trim();
	if (queue && !QUEUE_NAME.test(queue)) {
		errors.queue = 'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit';
	}
	if (queue) spec.queue = queue;
	const priority = read('priority', (text) => parseWhole(text, -1000, 1000), undefined);
	if (priority) spec.priority = priority;
	const maxAttempts = read(
		'maxAttempts',
		(text) => parseWhole(text, 1, LIMITS.attempts),
		undefined
	);
	const initialBackoff = time('initialBackoff', 0, DAY);
	const maxBackoff = time('maxBackoff', 0, DAY);
	if (initialBackoff && maxBackoff && parseFloat(maxBackoff) < parseFloat(initialBackoff)) {
		errors.maxBackoff = 'use no less than the first backoff';
	}
	if (maxAttempts || initialBackoff || maxBackoff) {
		spec.retry = {
			...(maxAttempts && { maxAttempts }),
			...(initialBackoff && { initialBackoff }),
			...(maxBackoff && { maxBackoff })
		};
	}
	const queueTimeout = time('queueTimeout', 1, 30 * DAY);
	if (queueTimeout) spec.queueTimeout = queueTimeout;
	const startTimeout = time('startTimeout', 1, DAY);
	if (startTimeout) spec.startTimeout = startTimeout;
	const timeout = time('timeout', 1, 30 * DAY);
	if (timeout) spec.timeout = timeout;

	const body: SubmitBody = { spec };
	if (form.name.trim()) body.name = form.name.trim();
	const labels = read('labels', parseLabels, {});
	if (Object.keys(labels).length > 0) body.labels = labels;
	return Object.keys(errors).length > 0 ? { errors } : { body };
}

function atMost(count: number, most: number, what: string): void {
	if (count > most) throw new InputError(`use at most ${plural(most, what)}`);
}

function parseEnv(text: string): Record<string, string> {
	const env = parsePairs(text, ENV_NAME, 'a variable');
	const entries = Object.entries(env);
	atMost(entries.length, LIMITS.env, 'variable');
	for (const [name] of entries) {
		if (name.startsWith('ORCHION_')) {
			throw new InputError(`${name}: names that start with ORCHION_ are set by Orchion itself`);
		}
		atMost(bytesOf(name), LIMITS.envName, 'byte');
	}
	atMost(bytesOf(entries.flat().join('')), LIMITS.envBytes, 'byte');
	return env;
}

function parseLabels(text: string): Record<string, string> {
	const labels = parsePairs(text, LABEL_KEY, 'a label');
	const entries = Object.entries(labels);
	atMost(entries.length, LIMITS.labels, 'label');
	for (const [key, value] of entries) {
		if (bytesOf(value) > LIMITS.labelValue) {
			throw new InputError(`${key}: use at most ${plural(LIMITS.labelValue, 'byte')} for a value`);
		}
	}
	return labels;
}

function parseModels(text: string): string[] {
	const models = text.split(/[\s,]+/).filter(Boolean);
	atMost(models.length, LIMITS.models, 'model');
	for (const model of models) atMost(bytesOf(model), LIMITS.modelName, 'byte');
	return models;
}

function parseConstraints(text: string): string[] {
	const constraints = parseLines(text);
	atMost(constraints.length, LIMITS.constraints, 'constraint');
	for (const one of constraints) atMost(bytesOf(one), LIMITS.constraint, 'byte');
	return constraints;
}

function isCleanPath(path: string): boolean {
	return (
		path.startsWith('/') &&
		!path.includes('//') &&
		path.split('/').every((part) => part !== '.' && part !== '..')
	);
}

/** A duration between two bounds in seconds; empty is undefined. */
function parseDurationWithin(text: string, least: number, most: number): string | undefined {
	const duration = parseDuration(text);
	if (duration === undefined) return undefined;
	const seconds = parseFloat(duration);
	if (seconds < least || seconds > most) {
		const from = least > 0 ? `from ${formatSpan(least * 1000)} ` : '';
		throw new InputError(`use a time ${from}up to ${formatSpan(most * 1000)}`);
	}
	return duration;
}

/**
 * A request as a file for orchion job submit -f. There ${name} is a parameter, and $${ a plain ${.
 */
export function jobFile(body: SubmitBody): string {
	const plain = (value: unknown): Plain => {
		if (typeof value === 'string') return value.replace(/\$\{[^}]*\}/g, (found) => `$${found}`);
		if (Array.isArray(value)) return value.map(plain);
		if (typeof value === 'object' && value !== null) {
			return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, plain(one)]));
		}
		return value as Plain;
	};
	return toYaml(plain(body));
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
		['spec.resources.diskBytes', 'disk'],
		['spec.constraints', 'constraints'],
		['spec.container.workingDir', 'workingDir'],
		['spec.container.user', 'user'],
		['spec.queueTimeout', 'queueTimeout'],
		['spec.queue', 'queue'],
		['spec.priority', 'priority'],
		['spec.retry.initialBackoff', 'initialBackoff'],
		['spec.retry.maxBackoff', 'maxBackoff'],
		['spec.retry', 'maxAttempts'],
		['spec.startTimeout', 'startTimeout'],
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
