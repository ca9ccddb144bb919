import type { Job, components } from '@orchion/api';

export type Artifact = components['schemas']['orchion.v1.Artifact'];

/** Whether a job is to leave anything. */
export function leavesArtifacts(job: Job): boolean {
	return (job.spec?.container?.artifacts?.length ?? 0) > 0;
}

/** What a list of artifacts hangs on, as a text that changes with it: attempts leave theirs when they end. */
export function artifactsBasis(job: Job): string {
	return (job.attempts ?? [])
		.filter((attempt) => attempt.finishedAt)
		.map((attempt) => attempt.number)
		.join(' ');
}

/** Where an artifact's content is, each part of its name being escaped. */
export function artifactPath(jobId: string, artifact: Artifact): string {
	const name = (artifact.name ?? '').split('/').map(encodeURIComponent).join('/');
	return `/api/jobs/${encodeURIComponent(jobId)}/artifacts/${name}`;
}

/** The attempts that left artifacts, newest first, with theirs by name. */
export function byAttempt(
	artifacts: readonly Artifact[]
): { attempt: number; artifacts: Artifact[] }[] {
	const groups = new Map<number, Artifact[]>();
	for (const artifact of artifacts) {
		const attempt = artifact.attempt ?? 0;
		groups.set(attempt, [...(groups.get(attempt) ?? []), artifact]);
	}
	return [...groups]
		.map(([attempt, list]) => ({ attempt, artifacts: list }))
		.sort((a, b) => b.attempt - a.attempt);
}
