import type { DeploymentSpec } from '@orchion/api';
import type { Scale } from '../api/client';
import { parseDurationWithin, parseWhole } from '../format/input';
import { formatBytes, plural, toNumber } from '../format/number';
import { formatDuration } from '../format/time';
import { FormReader, type FormErrors } from '../ui/reader';
import { MAX_REPLICAS } from './deployment';
import { engineName } from '../ui/states';

/** The three ways to say how often a model is served. */
export type How = 'fixed' | 'demand' | 'everywhere';

/** How often, as typed. */
export interface ScaleForm {
	how: How;
	replicas: string;
	min: string;
	max: string;
	/** Empty: as it is. */
	idle: string;
}

const WEEK = 7 * 86_400;

export function scaleOf(spec: DeploymentSpec | undefined): ScaleForm {
	const { replicas, minReplicas, maxReplicas, everywhere, idleTimeout } = spec ?? {};
	const demand = minReplicas !== undefined || maxReplicas !== undefined;
	return {
		how: everywhere ? 'everywhere' : demand ? 'demand' : 'fixed',
		replicas: String(replicas ?? 1),
		min: String(minReplicas ?? (demand ? 1 : 0)),
		max: String(maxReplicas ?? Math.max(1, replicas ?? 1)),
		idle: idleTimeout ?? ''
	};
}

/** The change that a form asks for, or what is wrong with each field. */
export function readScale(form: ScaleForm): { body: Scale } | { errors: FormErrors<ScaleForm> } {
	const reader = new FormReader(form);
	const whole = (field: 'replicas' | 'min' | 'max', least: number): number => {
		reader.need(field, `use a whole number from ${least} to ${MAX_REPLICAS}`);
		return reader.read(field, (text) => parseWhole(text, least, MAX_REPLICAS), undefined) ?? least;
	};
	switch (form.how) {
		case 'everywhere':
			return { body: { everywhere: true } };
		case 'fixed':
			return reader.result({ replicas: whole('replicas', 0) });
		case 'demand': {
			const body: Scale = { minReplicas: whole('min', 0), maxReplicas: whole('max', 1) };
			if (!reader.errors.min && !reader.errors.max && body.minReplicas! > body.maxReplicas!)
				reader.errors.max = `use at least the ${body.minReplicas} that there always are`;
			const idle = reader.read('idle', (text) => parseDurationWithin(text, 1, WEEK), undefined);
			if (idle) body.idleTimeout = idle;
			return reader.result(body);
		}
	}
}

/** Which field an error of the API is about, by the path it names. */
export function scaleField(path: string | undefined): keyof ScaleForm | undefined {
	const fields: Record<string, keyof ScaleForm> = {
		'spec.replicas': 'replicas',
		'spec.minReplicas': 'min',
		'spec.maxReplicas': 'max',
		'spec.idleTimeout': 'idle',
		'spec.everywhere': 'how'
	};
	return path === undefined || !Object.hasOwn(fields, path) ? undefined : fields[path];
}

/** What a deployment wants, in sentences. */
export function specWords(spec: DeploymentSpec | undefined): string {
	const { how, replicas, min, max } = scaleOf(spec);
	const often =
		how === 'everywhere'
			? 'one replica on each node that fits'
			: how === 'demand'
				? `${min} to ${plural(Number(max), 'replica')}, as many as are asked for`
				: plural(Number(replicas), 'replica');
	const words = [`${engineName(spec?.engine)} serves it with ${often}.`];
	if (how === 'demand')
		words.push(
			`One that is not needed goes after ${spec?.idleTimeout ? formatDuration(spec.idleTimeout) : '10 minutes'}.`
		);
	if (spec?.nodes?.length) words.push(`Only on ${spec.nodes.join(', ')}.`);
	if (spec?.constraints?.length) words.push(`Only where ${spec.constraints.join(' and ')}.`);
	if (spec?.maxInFlight) words.push(`Each answers ${plural(spec.maxInFlight, 'request')} at once.`);
	if (spec?.maxQueued !== undefined)
		words.push(
			spec.maxQueued ? `${plural(spec.maxQueued, 'request')} may wait.` : 'No request may wait.'
		);
	const { memoryBytes, gpus } = spec?.resources ?? {};
	const needs = [
		toNumber(memoryBytes) > 0 ? `${formatBytes(memoryBytes)} of memory` : '',
		gpus ? plural(gpus, 'GPU') : ''
	].filter(Boolean);
	if (needs.length > 0) words.push(`Each takes ${needs.join(' and ')}.`);
	return words.join(' ');
}
