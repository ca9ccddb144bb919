import { expect, it } from 'vitest';
import { emptyJobForm, jobFormField, type JobForm } from './form';
import { buildJob } from './submission';

const form = (change: Partial<JobForm>) => ({ ...emptyJobForm, image: 'a', ...change });

it('sends which node is wanted, and who may take its room', () => {
	expect(
		buildJob(
			form({
				constraints: 'os=linux',
				tolerations: 'gpu-only, spot *',
				placement: 'PLACEMENT_SPREAD',
				affinities: '40:label.disk=ssd\n\n-5 : label.room in (office,lab)\n+1:gpu.memory>=16GiB',
				avoidJobs: ' app=db,tier!=test ',
				preemptible: true
			})
		)
	).toEqual({
		body: {
			spec: {
				container: { image: 'a', pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT' },
				constraints: ['os=linux'],
				tolerations: ['gpu-only', 'spot', '*'],
				placement: 'PLACEMENT_SPREAD',
				affinities: [
					{ constraint: 'label.disk=ssd', weight: 40 },
					{ constraint: 'label.room in (office,lab)', weight: -5 },
					{ constraint: 'gpu.memory>=16GiB', weight: 1 }
				],
				avoidJobs: 'app=db,tier!=test',
				preemptible: true
			}
		}
	});
});

const POINTS = 'write POINTS:CONSTRAINT, such as 40:label.disk=ssd; points are -100 to 100, not 0';

it.each<[field: keyof JobForm, text: string, message: string]>([
	['constraints', 'os=linux\n'.repeat(33), 'use at most 32 constraints'],
	['constraints', `os=${'x'.repeat(510)}`, 'use at most 512 bytes'],
	['tolerations', 'a '.repeat(33), 'use at most 32 taints'],
	['tolerations', 'a=b', 'a=b: a taint is 1 to 63 of A-Z a-z 0-9 . _ / -, or * for all'],
	['affinities', '1:os=linux\n'.repeat(17), 'use at most 16 lines'],
	['affinities', 'os=linux', `os=linux: ${POINTS}`],
	['affinities', '0:os=linux', `0:os=linux: ${POINTS}`],
	['affinities', '101:os=linux', `101:os=linux: ${POINTS}`],
	['affinities', '5:', `5:: ${POINTS}`],
	['affinities', `5:os=${'x'.repeat(510)}`, 'use at most 512 bytes'],
	['avoidJobs', '=db', 'write key=value, key!=value or key'],
	['avoidJobs', 'app!=db', 'this only says what jobs must not have; add key=value or key'],
	['avoidJobs', 'a,'.repeat(33), 'use at most 32 labels'],
	['avoidJobs', 'x'.repeat(4097), 'use at most 4,096 bytes']
])('%s is held to its limit', (field, text, message) => {
	expect(buildJob(form({ [field]: text }))).toEqual({ errors: { [field]: message } });
});

it('finds the field of an API error', () => {
	expect(jobFormField('spec.placement')).toBe('placement');
	expect(jobFormField('spec.affinities[2].weight')).toBe('affinities');
	expect(jobFormField('spec.avoidJobs')).toBe('avoidJobs');
	expect(jobFormField('spec.tolerations[0]')).toBe('tolerations');
});
