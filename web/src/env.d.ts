/* What the build puts in. */
declare const __SITE__: boolean; /* true in the build that works from plain files */

/* The site's engine.js leaves the engine's bytes here, as base64. */
declare var sightglassEngine: string | undefined;

declare module 'virtual:reports' {
    /** studies/reports/NAME.json, without their figures. */
    const reports: import('./places/lab/report').Report[];
    export default reports;
}
