import type { JobSpec } from '@orchion/api';
import { toBase64 } from '../format/base64';
import { InputError, parseBytes, parseLines } from '../format/input';
import { formatBytes } from '../format/number';
import { atMost, bytesOf, type FormReader } from '../ui/reader';
import type { FileRow, JobForm } from './form';
import { LIMITS } from './limits';
import { OWNERS_NAME, readProgram, readWords } from './program';

type ContainerSpec = NonNullable<JobSpec['container']>;
type InputFile = NonNullable<ContainerSpec['files']>[number];

const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/;
const VOLUME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
const PATH_HELP = 'an absolute path such as /work, without . and ..';

/** The container that a form asks for. */
export function buildContainer(reader: FormReader<JobForm>): ContainerSpec {
	reader.need('image', 'name the image to run, for example docker.io/library/alpine:3.22');
	reader.short('image', LIMITS.image);
	reader.short('workingDir', LIMITS.path);
	const workingDir = reader.text('workingDir');
	if (workingDir && !isCleanPath(workingDir)) reader.errors.workingDir = `use ${PATH_HELP}`;
	reader.like('user', USER, 'use USER or USER:GROUP, such as 1000:1000');
	reader.like(
		'credentials',
		OWNERS_NAME,
		'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit'
	);
	const spec: ContainerSpec = {
		image: reader.text('image'),
		pullPolicy: reader.form.pullPolicy
	};
	const command = readWords(reader, 'command');
	if (command.length > 0) spec.command = command;
	Object.assign(spec, readProgram(reader));
	if (reader.text('credentials')) spec.registryCredentials = reader.text('credentials');
	if (workingDir) spec.workingDir = workingDir;
	if (reader.text('user')) spec.user = reader.text('user');
	const files = reader.read('files', readFiles, []);
	if (files.length > 0) spec.files = files;
	const volumes = reader.read('volumes', parseVolumes, []);
	if (volumes.length > 0) spec.volumes = volumes;
	const tmpfs = reader.read('tmpfs', parseTmpfs, []);
	if (tmpfs.length > 0) spec.tmpfs = tmpfs;
	const shm = reader.read('shm', (text) => parseSize(text, 0), 0);
	if (shm > 0) spec.shmBytes = String(shm);
	const artifacts = reader.read('artifacts', parseArtifacts, []);
	if (artifacts.length > 0) spec.artifacts = artifacts;
	return spec;
}

/** A size from a least one on; empty is 0. */
export function parseSize(text: string, least: number): number {
	const size = parseBytes(text);
	if (size > LIMITS.mostBytes) throw new InputError('use at most 1024TiB');
	if (size > 0 && size < least) throw new InputError(`use at least ${formatBytes(least)}`);
	return size;
}

/** NAME:/path or NAME:/path:ro, one a line. */
function parseVolumes(text: string): NonNullable<ContainerSpec['volumes']> {
	const lines = parseLines(text);
	atMost(lines.length, LIMITS.mounts, 'volume');
	return lines.map((line) => {
		const [name = '', path = '', mode, ...rest] = line.split(':');
		if (!VOLUME.test(name) || !isMountPath(path) || rest.length > 0 || (mode && mode !== 'ro')) {
			throw new InputError(
				`${line}: write NAME:/path, or NAME:/path:ro; names are of a-z 0-9 . _ -`
			);
		}
		return mode ? { name, path, readOnly: true } : { name, path };
	});
}

/** /path or /path:SIZE, one a line. */
function parseTmpfs(text: string): NonNullable<ContainerSpec['tmpfs']> {
	const lines = parseLines(text);
	atMost(lines.length, LIMITS.mounts, 'folder');
	return lines.map((line) => {
		const [path = '', size, ...rest] = line.split(':');
		if (!isMountPath(path) || rest.length > 0) {
			throw new InputError(`${line}: write /path, or /path:SIZE such as /tmp:256MiB`);
		}
		const bytes = parseSize(size ?? '', LIMITS.leastTmpfs);
		return bytes > 0 ? { path, sizeBytes: String(bytes) } : { path };
	});
}

/** PATH or PATH:NAME, with (optional) behind what need not be there; one a line. */
function parseArtifacts(text: string): NonNullable<ContainerSpec['artifacts']> {
	const lines = parseLines(text);
	atMost(lines.length, LIMITS.artifacts, 'line');
	const seen = new Set<string>();
	return lines.map((line) => {
		const [, path = '', name = '', optional] =
			/^([^:]*?)(?::([^:]*?))?(\s+\(optional\))?$/.exec(line) ?? [];
		if (!isCleanPath(path) || path === '/' || bytesOf(path) > LIMITS.path) {
			throw new InputError(
				`${line}: write PATH, or PATH:NAME, of files in the container such as /out/**`
			);
		}
		if (seen.has(path)) throw new InputError(`${path} is there already`);
		seen.add(path);
		atMost(bytesOf(name), LIMITS.artifactName, 'byte');
		return { path, ...(name && { name }), ...(optional && { optional: true }) };
	});
}

function readFiles(rows: FileRow[]): InputFile[] {
	atMost(rows.length, LIMITS.files, 'file');
	let total = 0;
	const seen = new Set<string>();
	const files = rows.map((row, index) => {
		const path = row.path.trim();
		const where = `file ${index + 1}`;
		if (!isCleanPath(path) || bytesOf(path) > LIMITS.path) {
			throw new InputError(`${where}: give ${PATH_HELP}`);
		}
		if (seen.has(path)) throw new InputError(`${where}: ${path} is there already`);
		seen.add(path);
		const mode = row.mode.trim();
		if (mode && !/^0?[0-7]{3}$/.test(mode)) {
			throw new InputError(`${where}: give permissions such as 0644 or 755`);
		}
		const bytes = row.chosen?.bytes ?? new TextEncoder().encode(row.text);
		total += bytes.length;
		return {
			path,
			content: toBase64(bytes),
			...(mode && { mode: parseInt(mode, 8) })
		};
	});
	if (total > LIMITS.fileBytes) {
		throw new InputError(`use at most ${formatBytes(LIMITS.fileBytes)} in all files together`);
	}
	return files;
}

function isCleanPath(path: string): boolean {
	return (
		path.startsWith('/') &&
		!path.includes('//') &&
		(path === '/' || !path.endsWith('/')) &&
		path.split('/').every((part) => part !== '.' && part !== '..')
	);
}

/** Container engines mount nothing at other paths. */
const isMountPath = (path: string) => isCleanPath(path) && path !== '/' && !path.includes(',');
