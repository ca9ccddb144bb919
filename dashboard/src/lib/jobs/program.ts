import type { JobSpec } from '@orchion/api';
import { InputError, parseDurationWithin, parsePairs, splitWords } from '../format/input';
import { atMost, bytesOf, type FormReader } from '../ui/reader';
import type { JobForm } from './form';
import { LIMITS } from './limits';

type ProcessSpec = NonNullable<JobSpec['process']>;
/** What a container's program and a node's own are started with alike. */
type Program = Pick<ProcessSpec, 'args' | 'env' | 'models' | 'stopGrace'>;

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/;
/** How the owner of a node names what its files say. */
export const OWNERS_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
/** Also of Windows: the node may run another system than this machine. */
const ABSOLUTE = /^(?:\/|[A-Za-z]:[\\/])/;

/** What a form says of how a program is started. */
export function readProgram(reader: FormReader<JobForm>): Program {
	const program: Program = {};
	const args = readWords(reader, 'args');
	if (args.length > 0) program.args = args;
	const env = reader.read('env', parseEnv, {});
	if (Object.keys(env).length > 0) program.env = env;
	const models = reader.read('models', parseModels, []);
	if (models.length > 0) program.models = models;
	const grace = reader.read(
		'stopGrace',
		(text) => parseDurationWithin(text, 1, LIMITS.stopGrace),
		undefined
	);
	if (grace) program.stopGrace = grace;
	return program;
}

/** The program of a node itself that a form asks for. Whether it may run only that node says. */
export function buildProcess(reader: FormReader<JobForm>): ProcessSpec {
	reader.need('program', 'name the program, as nodes’ policies do or by its path');
	reader.short('program', LIMITS.path);
	const command = reader.text('program');
	if (command && !ABSOLUTE.test(command) && !OWNERS_NAME.test(command)) {
		reader.errors.program = 'use a name of 1 to 63 of A-Z a-z 0-9 . _ -, or an absolute path';
	}
	reader.short('workingDir', LIMITS.path);
	reader.like('workingDir', ABSOLUTE, 'use an absolute path');
	const workingDir = reader.text('workingDir');
	return { command, ...readProgram(reader), ...(workingDir && { workingDir }) };
}

export function readWords(reader: FormReader<JobForm>, field: 'command' | 'args'): string[] {
	return reader.read(
		field,
		(text) => {
			const list = splitWords(text);
			atMost(list.length, LIMITS.words, 'word');
			atMost(bytesOf(list.join('')), LIMITS.wordBytes, 'byte');
			return list;
		},
		[]
	);
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

function parseModels(text: string): string[] {
	const models = text.split(/[\s,]+/).filter(Boolean);
	atMost(models.length, LIMITS.models, 'model');
	for (const model of models) atMost(bytesOf(model), LIMITS.modelName, 'byte');
	return models;
}
