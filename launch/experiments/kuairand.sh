# shellcheck shell=bash
# Shared by the experiments on KuaiRand-Pure; source it after environment.sh.

KUAIRAND=launch/sample_data/kuairand_pure

# import_kuairand OPTION...: without vectors, unless an option names them.
import_kuairand() {
  build/pinnerformer import --events $KUAIRAND/events.tsv.gz \
    --columns user=user,item=item,action=action,surface=surface,time=ts_ms:ms,duration=duration_ms:ms \
    --missing surface=-,duration=-1 --keep-duplicates \
    --items $KUAIRAND/items.tsv.gz --item-columns id=item,title=title,topic=tag "$@"
}
