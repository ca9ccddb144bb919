import { expect, it } from 'vitest';
import { emptyJobForm, jobFormField, type JobForm } from './form';
import { buildJob } from './submission';

const form = (change: Partial<JobForm>): JobForm => ({
	...emptyJobForm,
	kind: 'process',
	...change
});

it('sends a program of a node, without what only containers have', () => {
	expect(
		buildJob(
			form({
				program: ' ffmpeg ',
				args: "-i '/srv/in put.mp4' out.webm",
				env: 'LEVEL=info',
				models: 'qwen3:0.6b',
				workingDir: 'C:\\work',
				stopGrace: '30s',
				// Typed while it was a container.
				image: 'alpine',
				user: 'a:b:c',
				volumes: 'nonsense'
			})
		)
	).toEqual({
		body: {
			spec: {
				process: {
					command: 'ffmpeg',
					args: ['-i', '/srv/in put.mp4', 'out.webm'],
					env: { LEVEL: 'info' },
					models: ['qwen3:0.6b'],
					workingDir: 'C:\\work',
					stopGrace: '30s'
				}
			}
		}
	});
});

it.each<[field: keyof JobForm, text: string, message: string]>([
	['program', '', 'name the program, as nodes’ policies do or by its path'],
	['program', 'bin/x', 'use a name of 1 to 63 of A-Z a-z 0-9 . _ -, or an absolute path'],
	['program', `/${'x'.repeat(4096)}`, 'use at most 4,096 bytes'],
	['workingDir', 'work', 'use an absolute path'],
	['stopGrace', '6m', 'use a time from 1.0 s up to 5 m 00 s'],
	['env', 'ORCHION_X=1', 'ORCHION_X: names that start with ORCHION_ are set by Orchion itself']
])('%s is held to its limit', (field, text, message) => {
	expect(buildJob(form({ program: 'ffmpeg', [field]: text }))).toEqual({
		errors: { [field]: message }
	});
});

it('finds the field of an API error', () => {
	expect(jobFormField('spec.process.command')).toBe('program');
	expect(jobFormField('spec.process.args[3]')).toBe('args');
	expect(jobFormField('spec.process.workingDir')).toBe('workingDir');
});
