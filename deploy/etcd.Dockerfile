# etcd's own image as a user without rights: by itself it runs as root. There is no shell in it, so nothing is run here.
ARG ETCD=quay.io/coreos/etcd:v3.5.21

FROM ${ETCD}
USER 10001:10001
# A folder that is not there yet is made as that user's, and a new volume takes owner and rights from it.
WORKDIR /data
