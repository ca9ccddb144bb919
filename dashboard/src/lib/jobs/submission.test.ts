import { expect, it } from 'vitest';
import { emptyJobForm, idempotencyKey, jobFile, jobFormField, type JobForm } from './form';
import { buildJob } from './submission';

it('an empty form says what is required', () => {
	expect(buildJob(emptyJobForm)).toEqual({
		errors: { image: 'name the image to run, for example docker.io/library/alpine:3.22' }
	});
	expect(buildJob({ ...emptyJobForm, kind: 'chat' })).toEqual({
		errors: { chatModel: 'choose the model to ask', prompt: 'write what to ask the model' }
	});
});

it('sends only what was filled in', () => {
	expect(buildJob({ ...emptyJobForm, image: ' alpine ' })).toEqual({
		body: {
			spec: {
				container: {
					image: 'alpine',
					pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT'
				}
			}
		}
	});
	const built = buildJob({
		...emptyJobForm,
		kind: 'chat',
		name: 'ask',
		chatModel: 'qwen3:0.6b',
		system: 'Be brief.',
		prompt: 'Why?',
		maxTokens: '64',
		gpus: '1',
		constraints: 'os=linux\n\ngpu.memory>=16GiB',
		labels: 'team=ops',
		priority: '5',
		maxAttempts: '3',
		timeout: '10m'
	});
	expect(built).toEqual({
		body: {
			name: 'ask',
			labels: { team: 'ops' },
			spec: {
				chat: {
					model: 'qwen3:0.6b',
					messages: [
						{ role: 'system', content: 'Be brief.' },
						{ role: 'user', content: 'Why?' }
					],
					maxTokens: 64
				},
				resources: { gpus: 1 },
				constraints: ['os=linux', 'gpu.memory>=16GiB'],
				priority: 5,
				retry: { maxAttempts: 3 },
				timeout: '600s'
			}
		}
	});
});

it('names every field that is wrong at once', () => {
	const built = buildJob({
		...emptyJobForm,
		image: 'a',
		args: '"',
		env: '1',
		cpu: 'x',
		priority: '5000',
		timeout: 'later'
	});
	expect(built).toEqual({
		errors: {
			args: 'a " is not closed',
			env: 'line 1: write a variable as NAME=value',
			cpu: 'use a number of cores such as 0.5 or 2',
			priority: 'use a whole number from -1000 to 1000',
			timeout: 'use a time such as 90s, 10m or 1h30m'
		}
	});
});

it.each<[field: keyof JobForm, text: string, message: string]>([
	['name', 'é'.repeat(65), 'use at most 128 bytes'],
	['image', 'a'.repeat(513), 'use at most 512 bytes'],
	['args', 'a '.repeat(1025), 'use at most 1,024 words'],
	['command', 'a'.repeat(256 * 1024 + 1), 'use at most 262,144 bytes'],
	['env', 'ORCHION_X=1', 'ORCHION_X: names that start with ORCHION_ are set by Orchion itself'],
	['env', Array.from({ length: 257 }, (_, i) => `A${i}=1`).join('\n'), 'use at most 256 variables'],
	['env', `A=${'x'.repeat(256 * 1024)}`, 'use at most 262,144 bytes'],
	['models', 'a,'.repeat(33), 'use at most 32 models'],
	['labels', Array.from({ length: 65 }, (_, i) => `k${i}=v`).join('\n'), 'use at most 64 labels'],
	['labels', `a=${'x'.repeat(254)}`, 'a: use at most 253 bytes for a value'],
	['cpu', '10001', 'use at most 10,000 cores'],
	['memory', '5MiB', 'use at least 6 MiB'],
	['memory', '2000TiB', 'use at most 1024TiB'],
	['gpus', '65', 'use a whole number from 0 to 64'],
	['queue', '-night', 'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit'],
	['maxAttempts', '101', 'use a whole number from 1 to 100'],
	['initialBackoff', '25h', 'use a time up to 1 d 0 h'],
	['queueTimeout', '0.5s', 'use a time from 1.0 s up to 30 d 0 h'],
	['startTimeout', '2d', 'use a time from 1.0 s up to 1 d 0 h'],
	['timeout', '31d', 'use a time from 1.0 s up to 30 d 0 h'],
	['workingDir', 'work', 'use an absolute path such as /work, without . and ..'],
	['workingDir', '/a/../b', 'use an absolute path such as /work, without . and ..'],
	['workingDir', '/work/', 'use an absolute path such as /work, without . and ..'],
	['user', 'a:b:c', 'use USER or USER:GROUP, such as 1000:1000'],
	[
		'volumes',
		'Cache:/cache',
		'Cache:/cache: write NAME:/path, or NAME:/path:ro; names are of a-z 0-9 . _ -'
	],
	['volumes', 'a:/b:rw', 'a:/b:rw: write NAME:/path, or NAME:/path:ro; names are of a-z 0-9 . _ -'],
	['volumes', 'a:/b\n'.repeat(17), 'use at most 16 volumes'],
	['tmpfs', 'tmp', 'tmp: write /path, or /path:SIZE such as /tmp:256MiB'],
	['tmpfs', '/tmp:1KiB', 'use at least 4 KiB'],
	['shm', 'much', 'use a size such as 512MiB or 2GiB'],
	['credentials', 'a b', 'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit'],
	[
		'artifacts',
		'out/*',
		'out/*: write PATH, or PATH:NAME, of files in the container such as /out/**'
	],
	[
		'artifacts',
		'/a:b:c',
		'/a:b:c: write PATH, or PATH:NAME, of files in the container such as /out/**'
	],
	['artifacts', '/a\n/a:b', '/a is there already'],
	['artifacts', '/a\n'.repeat(65), 'use at most 64 lines'],
	['artifacts', `/a:${'x'.repeat(1025)}`, 'use at most 1,024 bytes'],
	['noRetryExitCodes', '2 256', 'use a whole number from 1 to 255'],
	['stopGrace', '6m', 'use a time from 1.0 s up to 5 m 00 s'],
	['count', '10001', 'use a whole number from 1 to 10000'],
	['startAfter', 'soon', 'use a date with a time of day'],
	['startAfter', '2999-01-01T00:00', 'use a time within a year']
])('%s is held to its limit', (field, text, message) => {
	expect(buildJob({ ...emptyJobForm, image: 'a', [field]: text })).toEqual({
		errors: { [field]: message }
	});
});

it('sends what is said about waiting, retrying and the container', () => {
	const built = buildJob({
		...emptyJobForm,
		image: 'a',
		queue: 'night',
		maxAttempts: '3',
		initialBackoff: '10s',
		maxBackoff: '5m',
		noRetryExitCodes: '2, 64',
		credentials: 'company',
		artifacts: '/out/**\n/model.bin:model\n/out dir/[ab]? (optional)',
		queueTimeout: '1d',
		startTimeout: '10m',
		disk: '5GiB',
		workingDir: '/work',
		user: '1000:1000'
	});
	expect(built).toMatchObject({
		body: {
			spec: {
				container: {
					workingDir: '/work',
					user: '1000:1000',
					registryCredentials: 'company',
					artifacts: [
						{ path: '/out/**' },
						{ path: '/model.bin', name: 'model' },
						{ path: '/out dir/[ab]?', optional: true }
					]
				},
				resources: { diskBytes: String(5 * 1024 ** 3) },
				queue: 'night',
				retry: {
					maxAttempts: 3,
					initialBackoff: '10s',
					maxBackoff: '300s',
					noRetryExitCodes: [2, 64]
				},
				queueTimeout: '86400s',
				startTimeout: '600s'
			}
		}
	});
	expect(
		buildJob({ ...emptyJobForm, image: 'a', initialBackoff: '10s', maxBackoff: '5s' })
	).toEqual({ errors: { maxBackoff: 'use no less than the first backoff' } });
});

it('sends what surrounds a container, what it waits for and how many there are', () => {
	const id = '0199f0aa-0000-7000-8000-000000000001';
	const form: JobForm = {
		...emptyJobForm,
		image: 'a',
		volumes: 'cache:/cache\ndata:/data:ro',
		tmpfs: '/tmp\n/big:1GiB',
		shm: '64MiB',
		stopGrace: '30s',
		files: [
			{ path: ' /work/a.txt ', mode: '0600', text: 'é\n' },
			{
				path: '/work/b',
				mode: '',
				text: 'not sent',
				chosen: { name: 'b', bytes: new Uint8Array([0, 255]) }
			}
		],
		after: [
			{ job: id, on: 'JOB_CONDITION_SUCCESS' },
			{ job: `array-${id}`, on: 'JOB_CONDITION_END' }
		],
		startAfter: '2026-01-02T03:04',
		count: '100'
	};
	const built = buildJob(form, Date.UTC(2026, 0, 1));
	expect(built).toEqual({
		body: {
			count: 100,
			spec: {
				container: {
					image: 'a',
					pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT',
					volumes: [
						{ name: 'cache', path: '/cache' },
						{ name: 'data', path: '/data', readOnly: true }
					],
					tmpfs: [{ path: '/tmp' }, { path: '/big', sizeBytes: String(1024 ** 3) }],
					shmBytes: String(64 * 1024 ** 2),
					stopGrace: '30s',
					files: [
						{ path: '/work/a.txt', content: 'w6kK', mode: 0o600 },
						{ path: '/work/b', content: 'AP8=' }
					]
				},
				after: [
					{ jobId: id, on: 'JOB_CONDITION_SUCCESS' },
					{ jobId: `array-${id}`, on: 'JOB_CONDITION_END' }
				],
				startAfter: new Date('2026-01-02T03:04').toISOString()
			}
		}
	});
	if (!('body' in built)) throw new Error('the form is refused');
	expect(jobFile(built.body)).toContain(`
      - path: /work/a.txt
        text: "é\\n"
        mode: 384
      - path: /work/b
        content: AP8=
`);
});

it.each<[files: JobForm['files'], message: string]>([
	[[{ path: 'a', mode: '', text: '' }], 'file 1: give an absolute path such as /work'],
	[[{ path: '/a', mode: '9', text: '' }], 'file 1: give permissions such as 0644 or 755'],
	[Array(2).fill({ path: '/a', mode: '', text: '' }), 'file 2: /a is there already'],
	[[{ path: '/a', mode: '', text: 'x'.repeat(1024 ** 2 + 1) }], 'use at most 1 MiB in all files'],
	[Array(257).fill({ path: '/a', mode: '', text: '' }), 'use at most 256 files']
])('input files are held to their limits', (files, message) => {
	expect(buildJob({ ...emptyJobForm, image: 'a', files })).toEqual({
		errors: { files: expect.stringContaining(message) }
	});
});

it('waits for jobs by their ids only', () => {
	const after = (job: string) =>
		buildJob({ ...emptyJobForm, image: 'a', after: [{ job, on: 'JOB_CONDITION_END' }] });
	expect(after('')).toEqual({ errors: { after: 'name the job to wait for' } });
	expect(after('nightly')).toEqual({
		errors: { after: 'no job is called “nightly”; give its id' }
	});
});

it('writes a file in which no text becomes a parameter', () => {
	const file = jobFile({
		name: 'a',
		spec: { container: { image: 'b', args: ['${HOME}', '$HOME $${x}', '${'], env: { A: '${1}' } } }
	});
	expect(file).toBe(`name: a
spec:
  container:
    image: b
    args:
      - "$\${HOME}"
      - "$HOME $$\${x}"
      - "\${"
    env:
      A: "$\${1}"
`);
});

it('finds the field of an API error', () => {
	expect(jobFormField('spec.container.env["A B"]')).toBe('env');
	expect(jobFormField('spec.resources.gpuMemoryBytes')).toBe('gpuMemory');
	expect(jobFormField('spec.resources.gpus')).toBe('gpus');
	expect(jobFormField('spec.container.files[3].path')).toBe('files');
	expect(jobFormField('spec.container.artifacts[0].name')).toBe('artifacts');
	expect(jobFormField('spec.container.registryCredentials')).toBe('credentials');
	expect(jobFormField('spec.retry.noRetryExitCodes[1]')).toBe('noRetryExitCodes');
	expect(jobFormField('spec.after[0].jobId')).toBe('after');
	expect(jobFormField('spec.startAfter')).toBe('startAfter');
	expect(jobFormField('count')).toBe('count');
	expect(jobFormField('spec.queue')).toBe('queue');
	expect(jobFormField('spec.queueTimeout')).toBe('queueTimeout');
	expect(jobFormField('spec.retry.maxBackoff')).toBe('maxBackoff');
	expect(jobFormField('spec.retry.maxAttempts')).toBe('maxAttempts');
	expect(jobFormField('idempotencyKey')).toBeUndefined();
	expect(jobFormField(undefined)).toBeUndefined();
});

it('keys differ', () => {
	expect(idempotencyKey()).toMatch(/^dashboard-[0-9a-f]{32}$/);
	expect(idempotencyKey()).not.toBe(idempotencyKey());
});
