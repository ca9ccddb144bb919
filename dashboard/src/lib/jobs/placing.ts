import type { JobSpec } from '@orchion/api';
import { InputError, parseLines } from '../format/input';
import { atMost, bytesOf, type FormReader } from '../ui/reader';
import type { JobForm } from './form';
import { LABEL_KEY, LIMITS } from './limits';
import { parseSelector } from './selector';

type Placing = Pick<
	JobSpec,
	'constraints' | 'tolerations' | 'placement' | 'affinities' | 'avoidJobs'
>;

/** What a form says of which node takes the job. */
export function readPlacing(reader: FormReader<JobForm>): Placing {
	const placing: Placing = {};
	const constraints = reader.read('constraints', parseConstraints, []);
	if (constraints.length > 0) placing.constraints = constraints;
	const tolerations = reader.read('tolerations', parseTolerations, []);
	if (tolerations.length > 0) placing.tolerations = tolerations;
	if (reader.form.placement !== 'PLACEMENT_UNSPECIFIED') placing.placement = reader.form.placement;
	const affinities = reader.read('affinities', parseAffinities, []);
	if (affinities.length > 0) placing.affinities = affinities;
	const avoidJobs = reader.read('avoidJobs', parseAvoided, '');
	if (avoidJobs) placing.avoidJobs = avoidJobs;
	return placing;
}

function parseConstraints(text: string): string[] {
	const constraints = parseLines(text);
	atMost(constraints.length, LIMITS.constraints, 'constraint');
	for (const one of constraints) atMost(bytesOf(one), LIMITS.constraint, 'byte');
	return constraints;
}

/** Taints, or * for all of them. */
function parseTolerations(text: string): string[] {
	const taints = text.split(/[\s,]+/).filter(Boolean);
	atMost(taints.length, LIMITS.tolerations, 'taint');
	for (const taint of taints) {
		if (taint !== '*' && !LABEL_KEY.test(taint)) {
			throw new InputError(`${taint}: a taint is 1 to 63 of A-Z a-z 0-9 . _ / -, or * for all`);
		}
	}
	return taints;
}

/** WEIGHT:CONSTRAINT, one a line. */
function parseAffinities(text: string): NonNullable<JobSpec['affinities']> {
	const lines = parseLines(text);
	atMost(lines.length, LIMITS.affinities, 'line');
	return lines.map((line) => {
		const [, points, constraint = ''] = /^([+-]?\d+)\s*:\s*(\S.*)$/.exec(line) ?? [];
		const weight = Number(points);
		if (!weight || Math.abs(weight) > LIMITS.affinity) {
			throw new InputError(
				`${line}: write POINTS:CONSTRAINT, such as 40:label.disk=ssd; points are -100 to 100, not 0`
			);
		}
		atMost(bytesOf(constraint), LIMITS.constraint, 'byte');
		return { constraint, weight };
	});
}

/** A selector; who avoids only by what others do not have would avoid all jobs without labels. */
function parseAvoided(text: string): string {
	const avoided = text.trim();
	atMost(bytesOf(avoided), LIMITS.selector, 'byte');
	const selector = parseSelector(avoided);
	if ('error' in selector) throw new InputError(selector.error);
	if (selector.length > 0 && !selector.some(({ equal }) => equal)) {
		throw new InputError('this only says what jobs must not have; add key=value or key');
	}
	return avoided;
}
